/** What a cache should return, in float64 and by brute force: no pages, no staging, one query and key at a time. */

import { roundToHalf } from "@kvquant/packing";
import type { CacheShape } from "@kvquant/spec";

/** A whole sequence and what happens to it. */
export interface ReferenceCacheInput {
  readonly shape: CacheShape;
  /** `[tokens, kvHeads * headDim]`, before RoPE. */
  readonly k: Float32Array;
  readonly v: Float32Array;
  /** `[tokens, queryHeads * headDim]`, before RoPE. */
  readonly q: Float32Array;
  readonly tokens: number;
  /** Angle per position of each rotated pair, `[rotaryDim / 2]`. */
  readonly inverseFrequencies: ArrayLike<number>;
  /** Multiplies the rotated channels of queries and of keys. Default 1. */
  readonly attentionFactor?: number;
  /** Whether the query at `position` sees `token` compressed. */
  readonly compressed: (token: number, position: number) => boolean;
  /** What compression makes of a number. */
  readonly code: (x: number, side: "key" | "value") => number;
  /** Compress keys after rotating them. Default false. */
  readonly postRope?: boolean;
}

/** The position rule, word for word: a page of 64 tokens is seen compressed when its last token is outside the tail. */
export function pageRule(sinkTokens: number, tailTokens: number): (token: number, position: number) => boolean {
  return (token, position) => {
    if (token < sinkTokens) return false;
    const page = Math.floor((token - sinkTokens) / 64);
    const lastToken = sinkTokens + 64 * page + 63;
    return lastToken <= position - tailTokens;
  };
}

/** Attention of all queries, `[tokens, queryHeads * headDim]`. */
export function referenceCacheAttention(input: ReferenceCacheInput): Float64Array {
  const { shape, tokens, compressed, code } = input;
  const { queryHeads, kvHeads, headDim } = shape;
  const group = queryHeads / kvHeads;
  const out = new Float64Array(tokens * queryHeads * headDim);
  for (let head = 0; head < queryHeads; head++) {
    const kvHead = Math.floor(head / group);
    const slice = (x: Float32Array, token: number, heads: number, index: number): number[] =>
      Array.from(x.subarray((token * heads + index) * headDim, (token * heads + index + 1) * headDim));
    const rows = Array.from({ length: tokens }, (_, token) => {
      const k = slice(input.k, token, kvHeads, kvHead).map(roundToHalf);
      const v = slice(input.v, token, kvHeads, kvHead).map(roundToHalf);
      const exactKey = rotate(k, token, input);
      const codedKey = input.postRope ? exactKey.map((x) => code(x, "key")) : rotate(k.map((x) => code(x, "key")), token, input);
      return { v, exactKey, codedKey, codedValue: v.map((x) => code(x, "value")) };
    });
    for (let position = 0; position < tokens; position++) {
      const q = rotate(slice(input.q, position, queryHeads, head), position, input);
      const seen = rows.slice(0, position + 1).map((row, token) => {
        const coded = compressed(token, position);
        const key = coded ? row.codedKey : row.exactKey;
        const score = q.reduce((sum, x, d) => sum + x * key[d]!, 0) / Math.sqrt(headDim);
        return { score, value: coded ? row.codedValue : row.v };
      });
      const maximum = Math.max(...seen.map((x) => x.score));
      let total = 0;
      const sums = new Float64Array(headDim);
      for (const { score, value } of seen) {
        const weight = Math.exp(score - maximum);
        total += weight;
        for (let d = 0; d < headDim; d++) sums[d] = sums[d]! + weight * value[d]!;
      }
      for (let d = 0; d < headDim; d++) out[(position * queryHeads + head) * headDim + d] = sums[d]! / total;
    }
  }
  return out;
}

function rotate(x: readonly number[], position: number, input: ReferenceCacheInput): number[] {
  const pairs = input.inverseFrequencies.length;
  const factor = input.attentionFactor ?? 1;
  const out = [...x];
  for (let pair = 0; pair < pairs; pair++) {
    const angle = position * input.inverseFrequencies[pair]!;
    const a = x[pair]!;
    const b = x[pair + pairs]!;
    out[pair] = factor * (a * Math.cos(angle) - b * Math.sin(angle));
    out[pair + pairs] = factor * (a * Math.sin(angle) + b * Math.cos(angle));
  }
  return out;
}
