/** Rows of fp16 numbers in the blocks of baselines. */

import { floatFromHalf } from "@kvquant/packing";
import { corrupt } from "../corrupt.js";
import { finiteHalfBits, readHalfBits, writeHalfBits } from "./half-array.js";

/** Stores `value` as a finite half at byte `offset` and returns what it decodes to. */
export function storeHalf(bytes: Uint8Array, offset: number, value: number): number {
  const bits = finiteHalfBits(value);
  writeHalfBits(bytes, offset, bits);
  return floatFromHalf(bits);
}

/**
 * Reads the half at byte `offset`; the caller knows that it exists.
 * @throws CORRUPT_DATA for infinity and NaN
 */
export function loadHalf(bytes: Uint8Array, offset: number): number {
  const value = floatFromHalf(readHalfBits(bytes, offset));
  if (!Number.isFinite(value)) throw corrupt(`block: number at byte ${offset}`, "a finite half", value);
  return value;
}
