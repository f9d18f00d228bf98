/** Any number of pseudo-random tokens, each a function of its position. */

import { roundToHalf } from "@kvquant/packing";
import { keyRange } from "@kvquant/quant";
import { makePage } from "@kvquant/quant/testing";
import { makeSyntheticStatistics } from "./synthetic-layer.js";
import type { LayerSize } from "./synthetic-layer.js";

/** Keys (before RoPE), values and a query; all of them fp16 numbers, so that storing them loses nothing. */
export interface SyntheticTokens {
  /** kvHeads * headDim. */
  readonly columns: number;
  /** Key `[columns]` of the token at a position; borrowed. */
  key(position: number): Float32Array;
  /** Value `[columns]` of the token at a position; borrowed. */
  value(position: number): Float32Array;
  /** Keys and values `[count, columns]` of the tokens from `first` on. */
  fill(first: number, count: number, out: { readonly keys: Float32Array; readonly values: Float32Array }): void;
  /** A query `[queryHeads * headDim]` whose attention is neither even nor on one token: scores have a standard deviation of about 2. */
  query(queryHeads: number): Float32Array;
}

const scoreDeviation = 2;

/** Tokens like those of `makeSyntheticStatistics`, but not among them; keys within their range. */
export function makeSyntheticTokens({ kvHeads, headDim }: LayerSize): SyntheticTokens {
  const columns = kvHeads * headDim;
  const poolTokens = countPool(columns);
  const { k, v } = makePage({ layers: 1, queryHeads: kvHeads, kvHeads, headDim }, poolTokens, 31);
  // Within the calibrated range, as text is: 1.2% of SmolLM2's pages leave it by more than a tenth in any channel, while every page of these random numbers would.
  const { low, high } = keyRange(makeSyntheticStatistics({ kvHeads, headDim }).layers[0]!.key, 0);
  const keys = k.data.map((number, index) => roundToHalf(Math.min(high[index % columns]!, Math.max(low[index % columns]!, number))));
  const values = v.data.map(roundToHalf);
  const key = (position: number): Float32Array => rowOf(keys, columns, position);
  const value = (position: number): Float32Array => rowOf(values, columns, position);
  return {
    columns,
    key,
    value,
    fill(first, count, out) {
      for (let row = 0; row < count; row++) {
        out.keys.set(key(first + row), row * columns);
        out.values.set(value(first + row), row * columns);
      }
    },
    query(queryHeads) {
      const energy = keys.reduce((sum, number) => sum + number * number, 0) / (poolTokens * kvHeads);
      const spread = scoreDeviation * Math.sqrt(headDim / energy);
      // Even numbers in a range of the wanted deviation.
      return Float32Array.from({ length: queryHeads * headDim }, (_, index) => spread * Math.sqrt(12) * (shuffled(index + 1) / 2 ** 32 - 0.5));
    },
  };
}

/** Different tokens: a power of two, fewer where they are long. Positions take them in a shuffled order, so that no two pages are alike. */
function countPool(columns: number): number {
  return columns > 1024 ? 256 : 1024;
}

function rowOf(pool: Float32Array, columns: number, position: number): Float32Array {
  const row = shuffled(position) % (pool.length / columns);
  return pool.subarray(row * columns, (row + 1) * columns);
}

/** A well-mixed 32-bit number of another one (the finaliser of MurmurHash3). */
function shuffled(position: number): number {
  let mixed = Math.imul(position ^ (position >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
