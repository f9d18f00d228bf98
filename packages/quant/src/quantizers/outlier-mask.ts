/** Which outliers of a page get a slot, and the list of them. */

import { PAGE_TOKENS } from "@kvquant/spec";
import type { Matrix } from "@kvquant/spec";
import type { OutlierEntries } from "@kvquant/sparse";

/** Slots a token and head: counts are 4-bit numbers. */
export const OUTLIER_SLOTS = 15;

/** Counts the marks of each token in `mask` `[rows, 64]`. */
function countMarks(mask: Uint8Array, rows: number, tokens: number): Uint16Array {
  const counts = new Uint16Array(PAGE_TOKENS);
  for (let row = 0; row < rows; row++) {
    for (let token = 0; token < tokens; token++) counts[token]! += mask[row * PAGE_TOKENS + token]!;
  }
  return counts;
}

/**
 * Drops the smallest |x_n| of tokens with more than 15 marks in `mask` `[headDim, 64]` (1 = outlier), so that the largest keep their
 * slots (ties: lower code index). Returns how many were dropped; they saturate. `codeOfRow` gives a row's code index,
 * `magnitude(row, token)` its |x_n|.
 */
export function limitOutliers(mask: Uint8Array, tokens: number, codeOfRow: Uint16Array, magnitude: (row: number, token: number) => number): number {
  const counts = countMarks(mask, codeOfRow.length, tokens);
  let dropped = 0;
  for (let token = 0; token < tokens; token++) {
    if (counts[token]! <= OUTLIER_SLOTS) continue;
    const marked: RankedOutlier[] = [];
    for (let row = 0; row < codeOfRow.length; row++) if (mask[row * PAGE_TOKENS + token] === 1) marked.push({ row, code: codeOfRow[row]!, magnitude: magnitude(row, token) });
    for (const { row } of rankOutliers(marked).slice(OUTLIER_SLOTS)) mask[row * PAGE_TOKENS + token] = 0;
    dropped += counts[token]! - OUTLIER_SLOTS;
  }
  return dropped;
}

/** An outlier that competes for a slot. */
export interface RankedOutlier {
  readonly row: number;
  readonly code: number;
  /** |x_n| */
  readonly magnitude: number;
}

/** Sorts in place: largest |x_n| first, ties by code index. */
export function rankOutliers(outliers: RankedOutlier[]): RankedOutlier[] {
  return outliers.sort((a, b) => b.magnitude - a.magnitude || a.code - b.code);
}

/** Lists the marked entries token by token, ascending code index; `mask` and `deltas` are `[headDim, 64]` in the order of `rowOfCode`. */
export function collectOutliers(mask: Uint8Array, deltas: Float32Array, tokens: number, rowOfCode: Uint16Array): OutlierEntries {
  const counts = Uint8Array.from(countMarks(mask, rowOfCode.length, tokens));
  const next = new Uint32Array(PAGE_TOKENS);
  let total = 0;
  for (let token = 0; token < PAGE_TOKENS; token++) {
    next[token] = total;
    total += counts[token]!;
  }
  const entries = { tokens, counts, deltas: new Float32Array(total), indices: new Uint8Array(total) };
  for (let code = 0; code < rowOfCode.length; code++) {
    const row = rowOfCode[code]! * PAGE_TOKENS;
    for (let token = 0; token < tokens; token++) {
      if (mask[row + token] === 0) continue;
      const place = next[token]!++;
      entries.deltas[place] = deltas[row + token]!;
      entries.indices[place] = code;
    }
  }
  return entries;
}

/** Adds a head's stored differences to the decoded page; `column` is the head's first, `channels` the channel of each code index. */
export function addOutliers(entries: OutlierEntries | undefined, out: Matrix, column: number, channels: Uint16Array): void {
  if (entries === undefined) return;
  let next = 0;
  for (let token = 0; token < out.rows; token++) {
    for (let slot = 0; slot < entries.counts[token]!; slot++, next++) {
      const place = token * out.cols + column + channels[entries.indices[next]!]!;
      out.data[place] = out.data[place]! + entries.deltas[next]!;
    }
  }
}
