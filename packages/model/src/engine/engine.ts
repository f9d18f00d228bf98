/** The seam between a language model and what computes it: the reference engine here, native engines beside it. */

import type { KvCache } from "@kvquant/cache";
import type { AttentionKernel } from "@kvquant/spec";
import type { ModelConfig } from "../config/model-config.js";

/** Options of one forward pass. */
export interface ForwardOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each layer of the pass with the number done. */
  readonly onLayer?: ((done: number) => void) | undefined;
}

/** Computes a model's forward pass over a cache. */
export interface Engine {
  /** Names the code path, such as `reference-fp32`; part of every cached result's key. */
  readonly id: string;
  readonly config: ModelConfig;
  /** The kernel caches must attend with. */
  readonly kernel: AttentionKernel;
  /**
   * Appends tokens to the cache and returns their final normalised hidden states `[tokens, width]`.
   * On error the cache holds the tokens it held before.
   */
  forward(tokens: ArrayLike<number>, cache: KvCache, options?: ForwardOptions): Promise<Float32Array>;
  /** Logits `[rows, vocabulary]` of hidden states `[rows, width]`; the buffer is reused by the next call. */
  logits(hidden: Float32Array, rows: number): Promise<Float32Array>;
  /** Log-softmax `[rows, vocabulary]` of the logits; the buffer is reused by the next call. */
  logProbabilities(hidden: Float32Array, rows: number): Promise<Float32Array>;
  dispose(): Promise<void>;
}
