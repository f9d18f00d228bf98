/** Groups of positions that breakdowns report: by place in the window, and by how far back the next token was seen last. */

/** A range of positions or distances, `[from, to)`; `to` is undefined for "and more". */
export interface NumberRange {
  readonly from: number;
  readonly to: number | undefined;
}

const FIRST_EDGE = 64;

/** Places in a window of `length` tokens: 0-63, 64-127, then doubling. */
export function positionRanges(length: number): readonly NumberRange[] {
  const ranges: NumberRange[] = [];
  for (let from = 0; from < length; from = Math.max(FIRST_EDGE, 2 * from)) ranges.push({ from, to: Math.min(length, Math.max(FIRST_EDGE, 2 * from)) });
  return ranges;
}

/** Distances to the last place of the token that comes next; the last group is of tokens new to the window, from and to undefined. */
export const DISTANCE_RANGES: readonly NumberRange[] = [
  { from: 1, to: 17 },
  { from: 17, to: 65 },
  { from: 65, to: 257 },
  { from: 257, to: 1025 },
  { from: 1025, to: undefined },
];

/**
 * For each scored row of a window, how many tokens back from the row's own position its next token was seen last; 0 where it is new.
 * Row i predicts token i + 1: with the same token at position j <= i the distance is `i + 1 - j`.
 */
export function lastSeenDistances(window: Int32Array): Int32Array {
  const last = new Map<number, number>();
  const distances = new Int32Array(window.length - 1);
  for (let row = 0; row < distances.length; row++) {
    last.set(window[row]!, row);
    const seen = last.get(window[row + 1]!);
    distances[row] = seen === undefined ? 0 : row + 1 - seen;
  }
  return distances;
}

/** Index of the range that holds `value`; undefined outside all. */
export function findRange(ranges: readonly NumberRange[], value: number): number | undefined {
  const index = ranges.findIndex(({ from, to }) => value >= from && (to === undefined || value < to));
  return index < 0 ? undefined : index;
}
