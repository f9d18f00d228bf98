/** The values outside a range, at most a given number of them. */

import { check, checkInteger } from "@kvquant/spec";
import { countLargest, offerLargest, startLargest, writeLargest } from "./largest.js";
import { checkNumber, outputOf } from "./select-top-k.js";

/** Which values were chosen, and how many more lie outside the range. */
export interface OutsideSelection {
  /** Ascending indices of the chosen values. */
  readonly indices: Uint32Array;
  /** Values outside the range that found no slot. */
  readonly saturated: number;
}

/**
 * Indices of the values below `low` or above `high`, ascending. When there are more than `capacity`, the ones with the largest
 * excess `max(low - x, x - high)` are chosen (with low = -1 and high = 1 the largest |x|), of equal ones the lower index, and
 * the rest is counted as saturated. Bounds may be infinite.
 * @param out memory for the indices, at least min(capacity, values.length) elements; the result is a view of its start
 * @throws INVALID_ARGUMENT for NaN, low > high, a capacity that is neither a whole number of at least 0 nor Infinity, or an `out` that is too short
 */
export function selectOutside(
  values: Float32Array,
  low: number,
  high: number,
  capacity = Number.POSITIVE_INFINITY,
  out?: Uint32Array,
): OutsideSelection {
  check(low <= high, "selectOutside: low", `at most high ${high}`, low);
  if (capacity !== Number.POSITIVE_INFINITY) checkInteger("selectOutside: capacity", capacity, { minimum: 0 });
  const slots = Math.min(capacity, values.length);
  if (out !== undefined) outputOf("selectOutside", slots, out);
  if (slots > 0) startLargest(slots);
  let outside = 0;
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    if (value >= low && value <= high) continue;
    checkNumber("selectOutside", value, index);
    outside++;
    if (slots > 0) offerLargest(value < low ? low - value : value - high, index);
  }
  const indices = outputOf("selectOutside", slots > 0 ? countLargest() : 0, out);
  if (slots > 0) writeLargest(indices);
  return { indices, saturated: outside - indices.length };
}
