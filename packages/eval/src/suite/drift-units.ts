/** What is kept of continuations. */

/** fp16's greedy continuation of one prompt. */
export interface ReferenceContinuation {
  readonly tokens: readonly number[];
  /** Packed float32 `[tokens, width]`: row i is the state that token i was chosen from. */
  readonly hidden: string;
}

/** One cache along it. */
export interface Continuation {
  /** Packed float64: KL(fp16 || cache) before each of fp16's tokens, which the cache is fed. */
  readonly divergence: string;
  /** Packed bytes: 1 where the most likely token is fp16's. */
  readonly agrees: string;
  /** What the cache writes when it is fed its own tokens, as many. */
  readonly free: readonly number[];
}
