/** Half-precision numbers inside byte blocks, finite always. */

import { floatFromHalf, halfFromFloat } from "@kvquant/packing";
import { KvquantError } from "@kvquant/spec";

/** Largest finite half. */
const MAXIMUM_HALF = 65504;

/**
 * `x` rounded to the nearest half; what would become infinite saturates at 65,504.
 * @throws INVALID_ARGUMENT for NaN
 */
export function finiteHalf(x: number): number {
  return floatFromHalf(finiteHalfBits(x));
}

/**
 * Bits of `finiteHalf(x)`.
 * @throws INVALID_ARGUMENT for NaN
 */
export function finiteHalfBits(x: number): number {
  // Finite pages get here: sums of numbers near the end of fp32 are infinite, their differences NaN, and no reader would take the block.
  if (x !== x) throw new KvquantError("INVALID_ARGUMENT", "fp16 numbers of a page: expected rows whose sums and differences stay within fp32, got NaN; scale them down");
  return halfFromFloat(x > MAXIMUM_HALF ? MAXIMUM_HALF : x < -MAXIMUM_HALF ? -MAXIMUM_HALF : x);
}

/** Rounds every element in place to a finite half and returns the array. */
export function roundToHalves(values: Float32Array): Float32Array {
  for (let index = 0; index < values.length; index++) values[index] = finiteHalf(values[index]!);
  return values;
}

/** Writes bits little-endian at byte `offset`. */
export function writeHalfBits(bytes: Uint8Array, offset: number, bits: number): void {
  bytes[offset] = bits & 255;
  bytes[offset + 1] = bits >>> 8;
}

/** Reads bits little-endian at byte `offset`; the caller knows that they exist. */
export function readHalfBits(bytes: Uint8Array, offset: number): number {
  return bytes[offset]! | (bytes[offset + 1]! << 8);
}
