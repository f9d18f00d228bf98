/** A model as the routes see it. */

import type { ServingEngine } from "@kvquant/engine";
import type { Tokenizer } from "@kvquant/model";
import type { ChatFormat } from "../chat/chat-format.js";
import type { FidelityMonitor } from "../fidelity/fidelity-monitor.js";

/** One model that is served. */
export interface ServedModel {
  /** What requests call it. */
  readonly name: string;
  /** Where it came from. */
  readonly source: string;
  /** Seconds since 1970 when it was loaded. */
  readonly created: number;
  readonly tokenizer: Tokenizer;
  /** Token ids from 0 to this are known to the model. */
  readonly vocabulary: number;
  /** Most tokens of a prompt and its answer. */
  readonly contextLimit: number;
  /** Requests that may wait at once. */
  readonly maxWaiting: number;
  readonly engine: ServingEngine;
  readonly chat: ChatFormat;
  /** Absent where there is nothing to compare: the cache is fp16, or the monitor is off. */
  readonly monitor?: FidelityMonitor;
}
