/** Sums of outer products, float64, and their rotation by RoPE. */

import { ropeFrequencies } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";

/** Rows summed before going on to the next tile of the matrix, so that they stay in the first-level cache. */
const ROWS = 64;

/**
 * Adds `sum over rows of g g'` to the upper triangle of `gram` `[size, size]` at `target`, where g is `x[row, column .. column + size)`
 * of a matrix with `cols` columns. `size` must be a multiple of 4. 4 x 4 tiles hold their sums in registers.
 */
export function addOuterProducts(gram: Float64Array, target: number, x: Float32Array, block: { cols: number; column: number; size: number; firstRow: number; endRow: number }): void {
  const { cols, column, size, firstRow, endRow } = block;
  const rows = new Float64Array(ROWS * size);
  for (let start = firstRow; start < endRow; start += ROWS) {
    const count = Math.min(ROWS, endRow - start);
    for (let row = 0; row < count; row++) {
      const from = (start + row) * cols + column;
      for (let i = 0; i < size; i++) rows[row * size + i] = x[from + i]!;
    }
    for (let i = 0; i < size; i += 4) {
      for (let j = i; j < size; j += 4) addTile(gram, target, rows, { count, size, i, j });
    }
  }
}

function addTile(gram: Float64Array, target: number, rows: Float64Array, tile: { count: number; size: number; i: number; j: number }): void {
  const { count, size, i, j } = tile;
  // Two halves of 2 x 4 sums: 8 sums and 6 operands fit the 16 vector registers.
  for (let half = i; half < i + 4; half += 2) {
    let a0 = 0;
    let a1 = 0;
    let a2 = 0;
    let a3 = 0;
    let b0 = 0;
    let b1 = 0;
    let b2 = 0;
    let b3 = 0;
    for (let row = 0, base = 0; row < count; row++, base += size) {
      const a = rows[base + half]!;
      const b = rows[base + half + 1]!;
      const x0 = rows[base + j]!;
      const x1 = rows[base + j + 1]!;
      const x2 = rows[base + j + 2]!;
      const x3 = rows[base + j + 3]!;
      a0 += a * x0;
      a1 += a * x1;
      a2 += a * x2;
      a3 += a * x3;
      b0 += b * x0;
      b1 += b * x1;
      b2 += b * x2;
      b3 += b * x3;
    }
    const top = target + half * size + j;
    gram[top]! += a0;
    gram[top + 1]! += a1;
    gram[top + 2]! += a2;
    gram[top + 3]! += a3;
    gram[top + size]! += b0;
    gram[top + size + 1]! += b1;
    gram[top + size + 2]! += b2;
    gram[top + size + 3]! += b3;
  }
}

/** Copies the upper triangle of each `[size, size]` matrix onto the lower one. */
export function mirrorUpper(gram: Float64Array, size: number): void {
  for (let start = 0; start < gram.length; start += size * size) {
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < i; j++) gram[start + i * size + j] = gram[start + j * size + i]!;
    }
  }
}

/** Distances between query and key that the forward-only H sums over. */
export const FEEDBACK_DISTANCES: readonly number[] = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/**
 * `sum over distances of R S R'` of each head's `S` `[heads, size, size]` (symmetric), R the rotation by that distance and the attention factor squared:
 * what the sum of (R q)(R q)' over all queries comes to, at the price of one matrix a head instead of 12 a query.
 */
export function rotateGram(gram: Float64Array, rope: RopeConfig, sequenceLength: number): Float64Array {
  const size = rope.headDim;
  const pairs = rope.rotaryDim / 2;
  const { inverseFrequencies, attentionFactor } = ropeFrequencies(rope, sequenceLength);
  const gain = attentionFactor * attentionFactor;
  const result = new Float64Array(gram.length);
  const rotated = new Float64Array(size * size);
  for (let start = 0; start < gram.length; start += size * size) {
    for (const distance of FEEDBACK_DISTANCES) {
      rotated.set(gram.subarray(start, start + size * size));
      for (let pair = 0; pair < pairs; pair++) {
        const angle = distance * inverseFrequencies[pair]!;
        const cos = Math.cos(angle) * gain;
        const sin = Math.sin(angle) * gain;
        for (let col = 0; col < size; col++) rotatePair(rotated, pair * size + col, (pair + pairs) * size + col, cos, sin);
        for (let row = 0; row < size; row++) rotatePair(rotated, row * size + pair, row * size + pair + pairs, cos, sin);
      }
      for (let index = 0; index < rotated.length; index++) result[start + index]! += rotated[index]!;
    }
  }
  return result;
}

function rotatePair(x: Float64Array, a: number, b: number, cos: number, sin: number): void {
  const first = x[a]!;
  const second = x[b]!;
  x[a] = first * cos - second * sin;
  x[b] = first * sin + second * cos;
}
