/** The k values of largest magnitude. */

import { check, checkInteger, KvquantError } from "@kvquant/spec";
import { offerLargest, startLargest, writeLargest } from "./largest.js";

/**
 * Indices of the `k` largest |values|, ascending; of equal magnitudes the lower index wins. All indices when `k >= values.length`.
 * To search a range, pass a subarray: indices then count from its start. Infinity counts as the largest magnitude.
 *
 * One pass with a heap of k slots, no allocation but the result (none when `out` has exactly min(k, length) elements).
 * @param out memory for the result, at least min(k, values.length) elements; the result is a view of its start
 * @throws INVALID_ARGUMENT for NaN, a `k` that is not a whole number of at least 0, or an `out` that is too short
 */
export function selectTopK(values: Float32Array, k: number, out?: Uint32Array): Uint32Array {
  checkInteger("selectTopK: k", k, { minimum: 0 });
  const count = Math.min(k, values.length);
  const result = outputOf("selectTopK", count, out);
  if (count === 0 || count === values.length) {
    for (let index = 0; index < values.length; index++) checkNumber("selectTopK", values[index]!, index);
    for (let index = 0; index < count; index++) result[index] = index;
    return result;
  }
  startLargest(count);
  let threshold = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < values.length; index++) {
    const magnitude = Math.abs(values[index]!);
    // One comparison lets both larger magnitudes and NaN through.
    if (!(magnitude <= threshold)) {
      checkNumber("selectTopK", magnitude, index);
      threshold = offerLargest(magnitude, index);
    }
  }
  writeLargest(result);
  return result;
}

/** Throws INVALID_ARGUMENT for NaN. */
export function checkNumber(what: string, value: number, index: number): void {
  if (value !== value) throw new KvquantError("INVALID_ARGUMENT", `${what}: expected numbers, got NaN at index ${index}`);
}

/** `count` elements of `out`, or new ones. */
export function outputOf(what: string, count: number, out: Uint32Array | undefined): Uint32Array {
  if (out === undefined) return new Uint32Array(count);
  check(out.length >= count, `${what}: out`, `at least ${count} elements`, out.length);
  return out.length === count ? out : out.subarray(0, count);
}
