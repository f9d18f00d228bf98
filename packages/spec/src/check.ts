/** Argument checks for public entry points; each throws INVALID_ARGUMENT with expected and got. */

import { KvquantError } from "./error.js";

/** Throws INVALID_ARGUMENT "`what`: expected `expected`, got `got`" unless `condition` holds. */
export function check(condition: boolean, what: string, expected: string, got: unknown): asserts condition {
  if (!condition) throw new KvquantError("INVALID_ARGUMENT", `${what}: expected ${expected}, got ${String(got)}`);
}

/** Throws INVALID_ARGUMENT unless `value` is an integer in [minimum, maximum]. */
export function checkInteger(what: string, value: number, range: { minimum: number; maximum?: number }): void {
  const maximum = range.maximum ?? Number.MAX_SAFE_INTEGER;
  const bound = range.maximum === undefined ? `an integer of at least ${range.minimum}` : `an integer from ${range.minimum} to ${maximum}`;
  check(Number.isSafeInteger(value) && value >= range.minimum && value <= maximum, what, bound, value);
}

/** Throws INVALID_ARGUMENT unless the array has exactly `length` elements. */
export function checkLength(what: string, array: ArrayLike<unknown>, length: number): void {
  check(array.length === length, what, `length ${length}`, array.length);
}

/** Throws INVALID_ARGUMENT at the first NaN or infinity, naming its index. */
export function checkFinite(what: string, values: Float32Array | Float64Array): void {
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    if (value - value !== 0) throw new KvquantError("INVALID_ARGUMENT", `${what}: expected finite numbers, got ${value} at index ${index}`);
  }
}
