/** Cosines and sines of consecutive positions. */

import { check } from "@kvquant/spec";

/** Rotations of positions `start .. start + count - 1`. Never written to again, so views of it may be kept. */
export interface RopeTable {
  readonly start: number;
  readonly count: number;
  /** `[count, rotaryDim / 2]` */
  readonly cos: Float32Array;
  /** `[count, rotaryDim / 2]` */
  readonly sin: Float32Array;
  /** Not multiplied into `cos` and `sin`; see `applyRope`. */
  readonly attentionFactor: number;
}

/** Rows of a table to fill, `[rows, pairs]`; row r holds position `start + r`. */
export interface TableRows {
  readonly start: number;
  /** First row to fill. */
  readonly from: number;
  /** One past the last row to fill. */
  readonly to: number;
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/**
 * Fills rows with the cosine and sine of `position * inverseFrequency`. The product is taken in float64 (at position 10,000,000 it is
 * off by at most 1e-9 rad) and `Math.cos` reduces it modulo 2 pi itself without losing bits, so that a table is as good as
 * fp32 rounding, 6e-8, at any position. An fp32 product would be off by 0.5 rad there.
 */
export function fillRopeRows(rows: TableRows, inverseFrequencies: Float64Array): void {
  const { cos, sin, start } = rows;
  const pairs = inverseFrequencies.length;
  let index = rows.from * pairs;
  for (let row = rows.from; row < rows.to; row++) {
    const position = start + row;
    for (let pair = 0; pair < pairs; pair++, index++) {
      const angle = position * inverseFrequencies[pair]!;
      cos[index] = Math.cos(angle);
      sin[index] = Math.sin(angle);
    }
  }
}

/** Throws INVALID_ARGUMENT unless the table's arrays are `[count, rotaryDim / 2]`. */
export function checkRopeTable(table: RopeTable, rotaryDim: number): void {
  const length = (table.count * rotaryDim) / 2;
  check(table.cos.length === length && table.sin.length === length, "rope table", `${length} cosines and sines (${table.count} positions * rotary dim ${rotaryDim} / 2)`, `${table.cos.length} and ${table.sin.length}`);
}
