/** Plug-in: the matrix products of exact attention over staged keys and values. */

/** One KV head and one run of consecutive queries, all G query heads of the group together. */
export interface AttentionBlock {
  /** Rotated queries `[group * queries, headDim]`; row `g * queries + i` is query i of head g. */
  readonly q: Float32Array;
  /** Rotated keys `[keys, headDim]`. */
  readonly k: Float32Array;
  /** Values `[keys, headDim]`. */
  readonly v: Float32Array;
  readonly group: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  /** Multiplies the scores, usually 1 / sqrt(headDim). */
  readonly scale: number;
  /** Query i sees keys 0 .. keys - queries + i (the last `queries` keys are the queries' own tokens). */
  readonly out: Float32Array;
}

/** Computes `out = softmax(scale * q k' + causal mask) v`, `[group * queries, headDim]`. */
export interface AttentionKernel {
  readonly specVersion: 1;
  readonly id: string;
  attend(block: AttentionBlock): void | Promise<void>;
}
