/** A random sequence, and ways to put it through a cache. */

import type { CacheShape, Matrix } from "@kvquant/spec";

import type { KvCache } from "../kv-cache.js";
import { normalNumbers, seededRandom } from "./random.js";

/** Keys, values and queries before RoPE, `[tokens, heads * headDim]`. */
export interface TestSequence {
  readonly shape: CacheShape;
  readonly tokens: number;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly q: Float32Array;
}

/** A sequence of normal numbers, the same for the same seed. */
export function randomSequence(shape: CacheShape, tokens: number, seed = 1): TestSequence {
  const random = seededRandom(seed);
  const keyCols = shape.kvHeads * shape.headDim;
  return {
    shape,
    tokens,
    k: normalNumbers(tokens * keyCols, random),
    v: normalNumbers(tokens * keyCols, random),
    q: normalNumbers(tokens * shape.queryHeads * shape.headDim, random),
  };
}

/** Rows `from .. to - 1`, a view. */
export function rowsOf(data: Float32Array, cols: number, from: number, to: number): Matrix {
  return { data: data.subarray(from * cols, to * cols), rows: to - from, cols };
}

/** Appends and attends tokens `from .. to - 1` in one chunk, on layer 0 or another; returns the result, which starts as NaN. */
export async function feed(cache: KvCache, sequence: TestSequence, range: { from: number; to: number; layer?: number }): Promise<Float32Array> {
  const { from, to } = range;
  const layer = cache.layer(range.layer ?? 0);
  const { kvHeads, queryHeads, headDim } = sequence.shape;
  layer.append(rowsOf(sequence.k, kvHeads * headDim, from, to), rowsOf(sequence.v, kvHeads * headDim, from, to));
  const cols = queryHeads * headDim;
  const out = new Float32Array((to - from) * cols).fill(NaN);
  await layer.attend(rowsOf(sequence.q, cols, from, to), { data: out, rows: to - from, cols });
  return out;
}

/** The whole sequence in chunks of the given sizes, the last repeated. */
export async function feedInChunks(cache: KvCache, sequence: TestSequence, chunks: readonly number[]): Promise<Float32Array> {
  const cols = sequence.shape.queryHeads * sequence.shape.headDim;
  const out = new Float32Array(sequence.tokens * cols);
  for (let from = cache.length, index = 0; from < sequence.tokens; index++) {
    const to = Math.min(sequence.tokens, from + chunks[Math.min(index, chunks.length - 1)]!);
    out.set(await feed(cache, sequence, { from, to }), from * cols);
    from = to;
  }
  return out;
}

/** The largest difference of two arrays; NaN when any number on either side is. */
export function maximumDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`lengths ${a.length} and ${b.length} differ`);
  let maximum = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (Number.isNaN(difference)) return NaN;
    maximum = Math.max(maximum, difference);
  }
  return maximum;
}
