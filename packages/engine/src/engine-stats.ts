/** Figures of a serving engine. */

/** Figures of the second tier. */
export interface StoreStats {
  readonly id: string;
  /** Resume points that were read back and used. */
  readonly hits: number;
  /** Look-ups that found nothing longer than memory had. */
  readonly misses: number;
  /** Records that were not what they should be: deleted and computed again. */
  readonly damaged: number;
  /** Records written. */
  readonly written: number;
  /** Resume points that were not written because the queue was full or they were evicted first. */
  readonly dropped: number;
  /** Reads and writes that the store failed. */
  readonly failed: number;
  /** Bytes the store says it takes; undefined where it cannot tell. */
  readonly bytes?: number;
}

/** What an engine holds and has done. */
export interface EngineStats {
  /** `batched`: one native step for all sequences; `sequential`: one sequence after another. */
  readonly path: "batched" | "sequential";
  readonly backends: readonly string[];
  /** Name of the artifact, or `fp16`. */
  readonly cache: string;
  readonly running: number;
  readonly waiting: number;
  /** Bytes of all caches, each block counted once. */
  readonly cacheBytes: number;
  readonly cacheLimit: number;
  /** Of `cacheBytes`: what running sequences hold alone. */
  readonly sequenceBytes: number;
  /** Of `cacheBytes`: what resume points hold. */
  readonly prefixBytes: number;
  /** What fp16 takes for the tokens held. */
  readonly fp16Bytes: number;
  /** True bits per value of the closed pages seen so far; undefined before there was one, and for fp16. */
  readonly bitsPerValue?: { readonly key: number; readonly value: number; readonly mean: number };
  /** Closed pages held, each counted once over sequences and resume points. */
  readonly pages: number;
  /** Tokens held, each counted once. */
  readonly tokens: number;
  readonly resumePoints: number;
  /** Sessions in memory, and the newest that this engine put into the store. */
  readonly sessions: number;
  /** Totals since the engine was made. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  readonly steps: number;
  readonly preemptions: number;
  readonly cancelled: number;
  readonly failed: number;
  readonly finished: number;
  readonly evictions: number;
  /** Values of closed pages that took the end level because no outlier slot was left, and page-local scales that were clamped, of finished sequences. */
  readonly saturated: number;
  readonly clamped: number;
  /** Second tier; undefined without one. */
  readonly store?: StoreStats;
  /** Why nothing is written to the store, where there is one that this cache cannot use. */
  readonly memoryOnly?: string;
  /** Key and value quantizer of each layer. */
  readonly layers: readonly LayerStats[];
}

/** Quantizers of one layer. */
export interface LayerStats {
  /** Quantizer id, or `fp16`. */
  readonly key: string;
  readonly value: string;
  readonly keyBits: number;
  readonly valueBits: number;
}
