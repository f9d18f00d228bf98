/** Thread pools of the native backend. */

import { availableParallelism } from "node:os";

import { awaitNative, callNative, checkInteger } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonThreads } from "./addon.js";

/** A small persistent pool; the calling thread is one of its threads. One native call at a time uses it. */
export interface NativeThreads {
  readonly count: number;
  readonly handle: AddonThreads;
  /** Gigabytes a second that all threads together read from `bytes` of memory, best of 5. */
  readBandwidth(bytes: number): Promise<number>;
}

/** Makes a pool of `threads`, by default as many as the machine runs at once. @throws INVALID_ARGUMENT, NATIVE_UNAVAILABLE */
export function createThreads(threads: number = availableParallelism()): NativeThreads {
  checkInteger("threads", threads, { minimum: 1, maximum: 1024 });
  const handle = callNative(() => new (loadAddon().Threads)(threads));
  return {
    count: threads,
    handle,
    async readBandwidth(bytes) {
      checkInteger("readBandwidth: bytes", bytes, { minimum: 1 });
      const out = new Float64Array(1);
      await awaitNative(() => handle.readBandwidth(bytes, out));
      return out[0]!;
    },
  };
}
