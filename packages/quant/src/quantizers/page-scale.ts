/** Scales in steps of 2^(1/16). */

/** Lowest e that a byte can hold, stored as 0. */
export const LOWEST_EXPONENT = -192;

/** Highest e that a byte can hold, stored as 255. */
export const HIGHEST_EXPONENT = 63;

/** fp32(2^(i / 16)), i = 0 .. 15. */
const MANTISSAS = Float32Array.from({ length: 16 }, (_, i) => 2 ** (i / 16));

/** Mantissas from which i = 1 .. 16 is the nearest sixteenth of a power of two: 2^((i - 1/2) / 16). */
const BOUNDARIES = Float64Array.from({ length: 16 }, (_, i) => 2 ** ((i + 0.5) / 16));

const POWERS = Float32Array.from({ length: 256 }, (_, index) => {
  const e = index + LOWEST_EXPONENT;
  return MANTISSAS[e & 15]! * 2 ** (e >> 4);
});

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** fp32(2^(e / 16)) for e in [-192, 63]: fp32(2^((e mod 16) / 16)) times a power of two, exact. */
export function powerOfExponent(e: number): number {
  return POWERS[e - LOWEST_EXPONENT]!;
}

/**
 * `round(16 log2(ratio))` for an fp32 `ratio`, found by comparing the mantissa with 2^((i - 1/2) / 16) instead of a logarithm, so that
 * every backend agrees (a tie cannot occur: those bounds are irrational). -193 for anything below 2^-12.5, 64 for infinity.
 */
export function roundedExponent(ratio: number): number {
  if (!(ratio >= 2 ** -12.5)) return LOWEST_EXPONENT - 1;
  if (ratio === Number.POSITIVE_INFINITY) return HIGHEST_EXPONENT + 1;
  float[0] = ratio;
  const exponent = (bits[0]! >>> 23) - 127;
  const mantissa = float[0]! / 2 ** exponent;
  let sixteenth = 0;
  while (sixteenth < 16 && mantissa >= BOUNDARIES[sixteenth]!) sixteenth++;
  return 16 * exponent + sixteenth;
}
