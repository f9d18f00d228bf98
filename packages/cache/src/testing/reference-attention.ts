/** Exact attention in float64, written for clarity: what kernels are compared with. */

import type { AttentionBlock } from "@kvquant/spec";

/** `softmax(scale * q k' + mask) v` in float64, `[group * queries, headDim]`; `block.out` is not touched. */
export function referenceAttention(block: Omit<AttentionBlock, "out">): Float64Array {
  return attention(block, (x) => x);
}

/** The same with every product, sum and exponential rounded to float32: the error a plain kernel may have. */
export function plainFloat32Attention(block: Omit<AttentionBlock, "out">): Float64Array {
  return attention(block, Math.fround);
}

function attention(block: Omit<AttentionBlock, "out">, round: (x: number) => number): Float64Array {
  const { q, k, v, group, queries, keys, headDim } = block;
  const out = new Float64Array(group * queries * headDim);
  for (let row = 0; row < group * queries; row++) {
    const seen = keys - queries + (row % queries) + 1;
    const scores: number[] = [];
    for (let key = 0; key < seen; key++) {
      let sum = 0;
      for (let d = 0; d < headDim; d++) sum = round(sum + round(q[row * headDim + d]! * k[key * headDim + d]!));
      scores.push(round(sum * round(block.scale)));
    }
    const maximum = scores.reduce((a, b) => Math.max(a, b));
    const weights = scores.map((x) => round(Math.exp(round(x - maximum))));
    const total = weights.reduce((a, b) => round(a + b), 0);
    for (let d = 0; d < headDim; d++) {
      let sum = 0;
      for (let key = 0; key < seen; key++) sum = round(sum + round(weights[key]! * v[key * headDim + d]!));
      out[row * headDim + d] = round(sum / total);
    }
  }
  return out;
}
