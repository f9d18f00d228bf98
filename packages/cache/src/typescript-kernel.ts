/** The default attention kernel: plain TypeScript, float32 in and out, float64 in between. */

import type { AttentionBlock, AttentionKernel } from "@kvquant/spec";

/** Queries computed together, so that each key and value loaded serves four products. */
const TILE = 4;
/** Keys whose values stay in the first-level cache while all channels are summed. */
const KEY_BLOCK = 64;

/**
 * Exact causal attention, `out = softmax(scale * q k' + mask) v`; all products, sums and exponentials are float64, rounded once to fp32.
 * About 1e9 multiply-adds a second on one core; runs synchronously.
 */
export const typescriptKernel: AttentionKernel = { specVersion: 1, id: "typescript", attend };

/** Four queries of one head; missing ones repeat the last. */
interface Tile {
  /** Row in `q` and `out` of each of the four. */
  readonly rows: Int32Array;
  /** Keys each of the four sees. */
  readonly seen: Int32Array;
  /** Queries among the four that exist. */
  used: number;
  /** Four queries, then their sums, `[4, headDim]`. */
  readonly q: Float64Array;
  readonly sums: Float64Array;
  /** Scores, then unnormalised weights, `[keys, 4]`. */
  readonly weights: Float64Array;
  readonly totals: Float64Array;
}

function attend(block: AttentionBlock): void {
  const { group, queries, keys, headDim } = block;
  const tile: Tile = {
    rows: new Int32Array(TILE),
    seen: new Int32Array(TILE),
    used: 0,
    q: new Float64Array(TILE * headDim),
    sums: new Float64Array(TILE * headDim),
    weights: new Float64Array(TILE * keys),
    totals: new Float64Array(TILE),
  };
  // The G heads of one query see the same keys, so rows are walked query by query: a tile of a group wastes little on the mask.
  const rows = group * queries;
  for (let first = 0; first < rows; first += TILE) {
    tile.used = Math.min(TILE, rows - first);
    for (let i = 0; i < TILE; i++) {
      const row = first + Math.min(i, tile.used - 1);
      const query = Math.floor(row / group);
      tile.rows[i] = (row % group) * queries + query;
      tile.seen[i] = keys - queries + query + 1;
    }
    score(block, tile);
    weigh(tile);
    sumValues(block, tile);
  }
}

function score(block: AttentionBlock, tile: Tile): void {
  const { k, headDim, scale } = block;
  const { q, weights } = tile;
  for (let i = 0; i < TILE; i++) {
    const from = tile.rows[i]! * headDim;
    for (let d = 0; d < headDim; d++) q[i * headDim + d] = block.q[from + d]! * scale;
  }
  const seen = tile.seen[TILE - 1]!;
  const q1 = headDim;
  const q2 = 2 * headDim;
  const q3 = 3 * headDim;
  for (let key = 0, at = 0, to = 0; key < seen; key++, at += headDim, to += TILE) {
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let d = 0; d < headDim; d++) {
      const x = k[at + d]!;
      s0 += x * q[d]!;
      s1 += x * q[q1 + d]!;
      s2 += x * q[q2 + d]!;
      s3 += x * q[q3 + d]!;
    }
    weights[to] = s0;
    weights[to + 1] = s1;
    weights[to + 2] = s2;
    weights[to + 3] = s3;
  }
}

/** Turns scores into weights exp(score - maximum), 0 where the mask hides the key. */
function weigh(tile: Tile): void {
  const { weights, totals } = tile;
  const end = tile.seen[TILE - 1]! * TILE;
  for (let i = 0; i < TILE; i++) {
    const seen = tile.seen[i]! * TILE;
    let maximum = -Infinity;
    for (let at = i; at < seen; at += TILE) if (weights[at]! > maximum) maximum = weights[at]!;
    let total = 0;
    for (let at = i; at < seen; at += TILE) {
      const weight = Math.exp(weights[at]! - maximum);
      weights[at] = weight;
      total += weight;
    }
    for (let at = seen + i; at < end; at += TILE) weights[at] = 0;
    totals[i] = total;
  }
}

function sumValues(block: AttentionBlock, tile: Tile): void {
  const { v, headDim, out } = block;
  const { weights, sums } = tile;
  const seen = tile.seen[TILE - 1]!;
  sums.fill(0);
  for (let begin = 0; begin < seen; begin += KEY_BLOCK) {
    const end = Math.min(seen, begin + KEY_BLOCK);
    for (let d = 0; d < headDim; d += 2) addPair(v, weights, sums, { begin, end, d, headDim });
  }
  for (let i = 0; i < tile.used; i++) {
    const to = tile.rows[i]! * headDim;
    for (let d = 0; d < headDim; d++) out[to + d] = sums[i * headDim + d]! / tile.totals[i]!;
  }
}

/** Adds keys `begin .. end - 1` to channels d and d + 1 of the four sums. */
function addPair(v: Float32Array, weights: Float64Array, sums: Float64Array, part: { begin: number; end: number; d: number; headDim: number }): void {
  const { begin, end, d, headDim } = part;
  let a0 = 0;
  let a1 = 0;
  let a2 = 0;
  let a3 = 0;
  let b0 = 0;
  let b1 = 0;
  let b2 = 0;
  let b3 = 0;
  for (let key = begin, at = begin * headDim + d, w = begin * TILE; key < end; key++, at += headDim, w += TILE) {
    const a = v[at]!;
    const b = v[at + 1]!;
    const w0 = weights[w]!;
    const w1 = weights[w + 1]!;
    const w2 = weights[w + 2]!;
    const w3 = weights[w + 3]!;
    a0 += w0 * a;
    a1 += w1 * a;
    a2 += w2 * a;
    a3 += w3 * a;
    b0 += w0 * b;
    b1 += w1 * b;
    b2 += w2 * b;
    b3 += w3 * b;
  }
  sums[d] = sums[d]! + a0;
  sums[d + 1] = sums[d + 1]! + b0;
  sums[headDim + d] = sums[headDim + d]! + a1;
  sums[headDim + d + 1] = sums[headDim + d + 1]! + b1;
  sums[2 * headDim + d] = sums[2 * headDim + d]! + a2;
  sums[2 * headDim + d + 1] = sums[2 * headDim + d + 1]! + b2;
  sums[3 * headDim + d] = sums[3 * headDim + d]! + a3;
  sums[3 * headDim + d + 1] = sums[3 * headDim + d + 1]! + b3;
}
