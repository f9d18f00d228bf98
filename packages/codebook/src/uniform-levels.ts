/** Evenly spaced levels. */

import { checkInteger } from "@kvquant/spec";
import type { Bits } from "@kvquant/spec";
import { GRID_STEPS, snapToGrid } from "./grid.js";

/**
 * 2^bits levels from -1 to 1, evenly spaced: integer quantization with a real zero point.
 * @throws INVALID_ARGUMENT for bits outside 1 .. 8
 */
export function uniformLevels(bits: Bits): Float32Array {
  checkInteger("bits", bits, { minimum: 1, maximum: 8 });
  const last = 2 ** bits - 1;
  return Float32Array.from({ length: last + 1 }, (_, i) => (2 * i - last) / last);
}

/**
 * `uniformLevels` moved to the nearest points k/steps: symmetric, 2^bits of them.
 * @throws INVALID_ARGUMENT for bits outside 1 .. 8, or more levels than grid points (8 bits need 128 steps)
 */
export function uniformOnGrid(bits: Bits, steps = GRID_STEPS): Float32Array {
  return snapToGrid(uniformLevels(bits), steps);
}
