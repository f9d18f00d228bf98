/** The Hadamard rotation of value heads. */

import { check, checkInteger } from "@kvquant/spec";

/** Block size of the rotation: the largest power of two that divides `headDim` (64: 64, 80: 16, 96: 32). */
export function hadamardBlock(headDim: number): number {
  checkInteger("headDim", headDim, { minimum: 1 });
  return headDim & -headDim;
}

/**
 * Multiplies each run of `block` numbers of `x` by the symmetric orthonormal Hadamard matrix, in place; its own inverse.
 * fp32: butterflies (a, b) -> (a + b, a - b) with strides 1, 2, 4, ..., then one product with fp32(1 / sqrt(block)).
 * Source: recipes of this project; Sylvester's construction.
 * @throws INVALID_ARGUMENT when `block` is no power of two or does not divide the length
 */
export function applyHadamard(x: Float32Array, block: number): Float32Array {
  checkInteger("applyHadamard: block", block, { minimum: 1 });
  check((block & (block - 1)) === 0, "applyHadamard: block", "a power of two", block);
  check(x.length % block === 0, "applyHadamard: x", `a multiple of ${block} numbers`, x.length);
  for (let stride = 1; stride < block; stride *= 2) {
    for (let start = 0; start < x.length; start += 2 * stride) {
      for (let index = start; index < start + stride; index++) {
        const a = x[index]!;
        const b = x[index + stride]!;
        x[index] = a + b;
        x[index + stride] = a - b;
      }
    }
  }
  const gain = Math.fround(1 / Math.sqrt(block));
  for (let index = 0; index < x.length; index++) x[index] = x[index]! * gain;
  return x;
}
