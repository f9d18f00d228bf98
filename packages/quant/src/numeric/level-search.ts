/** Nearest-level search by a table of cells. */

import { corrupt } from "../corrupt.js";

/** Cells over [-1, 1]; levels on the grid k/127 leave at most one midpoint in a cell of 1/256. */
const CELLS = 512;

/** Midpoints of neighbouring levels with the table that finds a value's place among them. */
export interface LevelSearch {
  /** Ascending, `[levels - 1]`. */
  readonly midpoints: Float32Array;
  /** Midpoints below the lower edge of each cell `[513]`. */
  readonly base: Uint8Array;
}

/**
 * Prepares midpoints for `findCode`.
 * @throws CORRUPT_DATA when they do not ascend
 */
export function prepareSearch(midpoints: Float32Array): LevelSearch {
  for (let index = 1; index < midpoints.length; index++) {
    if (!(midpoints[index]! >= midpoints[index - 1]!)) throw corrupt("level midpoints", "ascending numbers", `${midpoints[index - 1]}, ${midpoints[index]}`);
  }
  const base = new Uint8Array(CELLS + 1);
  for (let cell = 0; cell <= CELLS; cell++) {
    const edge = (cell / CELLS) * 2 - 1;
    while (base[cell]! < midpoints.length && midpoints[base[cell]!]! < edge) base[cell]!++;
  }
  return { midpoints, base };
}

/** Count of midpoints below `x`, the code of its nearest level; a tie goes to the lower level. NaN gives a code like any other. */
function findCode(midpoints: Float32Array, base: Uint8Array, x: number): number {
  const cell = x <= -1 ? 0 : x >= 1 ? CELLS : ((x + 1) * (CELLS / 2)) | 0;
  let code = base[cell]!;
  while (code > 0 && !(midpoints[code - 1]! < x)) code--;
  while (code < midpoints.length && midpoints[code]! < x) code++;
  return code;
}

/** Writes `findCode` of `values[start .. start + count)` to `codes[0 .. count)`. */
export function findCodes(search: LevelSearch, values: Float32Array, start: number, count: number, codes: Uint8Array): void {
  const { midpoints, base } = search;
  for (let index = 0; index < count; index++) codes[index] = findCode(midpoints, base, values[start + index]!);
}
