/** Attention of one query of one head in float64, token by token: what kernels are checked against. */

/** A query head and where it stands. */
export interface ExactQuery {
  /** `[headDim]`, before RoPE. */
  readonly query: Float32Array;
  readonly position: number;
  /** Angles are `distance * base ** (-2 pair / headDim)`, pairs (p, p + headDim / 2). */
  readonly ropeBase: number;
}

/** Takes tokens in any order. */
export interface ExactAttention {
  /** A token's key (before RoPE) and value: `headDim` numbers of each array from `offset` on. */
  add(position: number, token: { readonly key: Float32Array; readonly value: Float32Array; readonly offset: number }): void;
  /** `[headDim]` of everything added. */
  result(): Float64Array;
}

export function createExactAttention({ query, position: queryPosition, ropeBase }: ExactQuery): ExactAttention {
  const headDim = query.length;
  const pairs = headDim / 2;
  const frequencies = Float64Array.from({ length: pairs }, (_, pair) => ropeBase ** ((-2 * pair) / headDim));
  const sum = new Float64Array(headDim);
  let maximum = -Infinity;
  let total = 0;
  return {
    add(position, { key, value, offset }) {
      const distance = queryPosition - position;
      let score = 0;
      for (let pair = 0; pair < pairs; pair++) {
        const cosine = Math.cos(distance * frequencies[pair]!);
        const sine = Math.sin(distance * frequencies[pair]!);
        const [low, high] = [query[pair]!, query[pair + pairs]!];
        score += key[offset + pair]! * (low * cosine - high * sine) + key[offset + pairs + pair]! * (low * sine + high * cosine);
      }
      score /= Math.sqrt(headDim);
      if (score > maximum) {
        const shrink = Math.exp(maximum - score);
        total *= shrink;
        for (let channel = 0; channel < headDim; channel++) sum[channel]! *= shrink;
        maximum = score;
      }
      const weight = Math.exp(score - maximum);
      total += weight;
      for (let channel = 0; channel < headDim; channel++) sum[channel]! += weight * value[offset + channel]!;
    },
    result: () => sum.map((channel) => channel / total),
  };
}
