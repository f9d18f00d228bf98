/** Halves inside blocks. */

import { floatFromHalf } from "@kvquant/packing";

/** The little-endian half at byte `at`; the caller knows that it exists. */
export function halfAt(source: Uint8Array, at: number): number {
  return floatFromHalf(source[at]! | (source[at + 1]! << 8));
}
