/** The engine as its users see it. */

import type { LanguageModel } from "@kvquant/model";
import type { KvqArtifact, Quantizer } from "@kvquant/quant";
import type { EngineEvent } from "./engine-event.js";
import type { EngineStats } from "./engine-stats.js";
import type { Generation, GenerationRequest } from "./generation.js";
import type { PageStore } from "./page-store.js";

/** How an engine is made. */
export interface ServingEngineOptions {
  /** Borrowed: dispose it after the engine. */
  readonly model: LanguageModel;
  /** A fitted artifact of the model, or `"fp16"`. */
  readonly artifact: KvqArtifact | "fp16";
  /** Custom quantizers the artifact may name. */
  readonly quantizers?: readonly Quantizer[] | undefined;
  /** Default: the artifact's, or 1. */
  readonly sinkTokens?: number | undefined;
  /** Newest tokens kept exact, default 64. */
  readonly tailTokens?: number | undefined;
  readonly precision?: "fast" | "exact" | undefined;
  /** How caches attend; see `ModelCacheOptions` of @kvquant/model. */
  readonly attention?: "pages" | "tiles" | undefined;
  /** Bytes that all caches together may take. */
  readonly cacheBytes: number;
  /** Tokens of one step over all sequences, default 512. */
  readonly stepTokens?: number | undefined;
  /** Sequences that run at once, default 32. */
  readonly maxSequences?: number | undefined;
  /** Requests that wait at once, default 256. */
  readonly maxWaiting?: number | undefined;
  /** Whether prefixes are shared, default true. */
  readonly prefixReuse?: boolean | undefined;
  /** A resume point is left every this many tokens of a prompt, rounded to pages. Default 512. */
  readonly snapshotTokens?: number | undefined;
  /** Second tier; borrowed: close it after the engine. */
  readonly store?: PageStore | undefined;
  readonly onEvent?: ((event: EngineEvent) => void) | undefined;
}

/** A saved session. */
export interface SessionInfo {
  readonly id: string;
  readonly tokens: number;
  /** Bytes of the session's cache, shared pages included. */
  readonly bytes: number;
  /** ISO 8601. */
  readonly created: string;
  /** `store`: survives a restart. */
  readonly stored: "memory" | "store";
}

/** Runs many requests at once over one model. */
export interface ServingEngine extends AsyncDisposable {
  /**
   * Queues a request.
   * @throws INVALID_ARGUMENT for a request that makes no sense, or goes on beyond the context of a model whose RoPE rule does not reach further
   * @throws OUT_OF_CAPACITY when it can never fit the budget, when the queue is full, or while draining
   * @throws DISPOSED
   */
  submit(request: GenerationRequest): Generation;
  stats(): EngineStats;
  /** Finishes what runs and waits, writes what is to be written, and refuses new requests. */
  drain(): Promise<void>;
  /**
   * Keeps the cache of exactly these tokens under an id, computing what is missing: in the store where there is one, else pinned in memory.
   * @throws INVALID_ARGUMENT, OUT_OF_CAPACITY when it does not fit beside what is pinned, or while draining
   */
  saveSession(id: string, tokens: ArrayLike<number>): Promise<SessionInfo>;
  listSessions(): Promise<readonly SessionInfo[]>;
  /** Forgets a session; false where there is none. */
  deleteSession(id: string): Promise<boolean>;
  /** Cancels what runs, and frees all caches. */
  dispose(): Promise<void>;
}
