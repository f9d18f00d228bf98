/** IEEE 754 binary16 ("half", fp16) numbers as 16-bit patterns. */

import { checkLength } from "@kvquant/spec";

/** Every NaN becomes this pattern, because JavaScript does not keep the sign or payload of a NaN. */
const QUIET_NAN = 0x7e00;
const INFINITY = 0x7c00;

const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0;
const LOW = 1 - HIGH;

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);
/** binary32 patterns of 2^-14 and 2^16, between which halves are normal (or round to infinity). */
const SMALLEST_NORMAL = 0x38800000;
const TOO_LARGE = 0x47800000;
/** The exponent biases' difference, 127 - 15, in a binary32 pattern. */
const EXPONENT_SHIFT = 0x38000000;
/** Values of all patterns, made when first needed. */
let values: Float32Array | undefined;

/** Per sign and exponent (the top 6 bits): value of one unit of the mantissa, and the hidden bit. */
const unit = new Float64Array(64);
const hidden = new Float64Array(64);
for (let top = 0; top < 64; top++) {
  const exponent = top & 31;
  unit[top] = (top & 32 ? -1 : 1) * 2 ** (Math.max(exponent, 1) - 25);
  hidden[top] = exponent === 0 ? 0 : 1024;
}

/**
 * Bits of the binary16 number nearest to `x`, ties to even, rounded once from double precision.
 * From 65,520 up the result is infinity; NaN gives 0x7e00; the sign of zero is kept.
 */
export function halfFromFloat(x: number): number {
  double[0] = x;
  const high = words[HIGH]!;
  const low = words[LOW]!;
  const sign = (high >>> 16) & 0x8000;
  const exponent = ((high >>> 20) & 0x7ff) - 1023;
  if (exponent >= 16) return x !== x ? QUIET_NAN : sign | INFINITY;
  if (exponent < -25) return sign;
  let mantissa = high & 0xfffff;
  let shift = 10;
  let bits = (exponent + 15) << 10;
  if (exponent < -14) {
    mantissa |= 0x100000;
    shift = -4 - exponent;
    bits = 0;
  }
  bits |= mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  // A carry out of the mantissa raises the exponent, up to infinity: the encoding is in order.
  if (rest > middle || (rest === middle && (low !== 0 || (bits & 1) === 1))) bits++;
  return sign | bits;
}

/** Value of a binary16 bit pattern, exact. Only the low 16 bits count. */
export function floatFromHalf(bits: number): number {
  const top = (bits >>> 10) & 63;
  const mantissa = bits & 1023;
  if ((top & 31) === 31) return mantissa !== 0 ? Number.NaN : top === 31 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  return unit[top]! * (hidden[top]! + mantissa);
}

/** `x` rounded to the nearest binary16 number, ties to even. */
export function roundToHalf(x: number): number {
  return floatFromHalf(halfFromFloat(x));
}

/**
 * Binary16 bits of each value `[count]`; see `halfFromFloat` for rounding.
 * @throws INVALID_ARGUMENT when `out` has another length
 */
export function encodeHalf(values: Float32Array, out: Uint16Array = new Uint16Array(values.length)): Uint16Array {
  checkLength("encodeHalf: out", out, values.length);
  for (let index = 0; index < values.length; index++) {
    single[0] = values[index]!;
    const pattern = singleBits[0]!;
    const magnitude = pattern & 0x7fffffff;
    if (magnitude >= SMALLEST_NORMAL && magnitude < TOO_LARGE) {
      // Half of the last kept bit, less one unless that bit is odd: ties go to even. A carry raises the exponent, up to infinity.
      const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
      out[index] = ((pattern >>> 16) & 0x8000) | ((rounded - EXPONENT_SHIFT) >>> 13);
    } else {
      out[index] = halfFromFloat(single[0]);
    }
  }
  return out;
}

/**
 * Values of binary16 bit patterns `[count]`, exact.
 * @throws INVALID_ARGUMENT when `out` has another length
 */
export function decodeHalf(bits: Uint16Array, out: Float32Array = new Float32Array(bits.length)): Float32Array {
  checkLength("decodeHalf: out", out, bits.length);
  values ??= Float32Array.from({ length: 65536 }, (_, pattern) => floatFromHalf(pattern));
  for (let index = 0; index < bits.length; index++) out[index] = values[bits[index]!]!;
  return out;
}
