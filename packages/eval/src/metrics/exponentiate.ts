/** exp over a range of log-probabilities, several times faster than Math.exp element by element. */

const STEPS = 256;
/** exp(x) below this is 0 in float32, subnormals included. */
const SMALLEST = -104;
const perStep = Math.LN2 / STEPS;
const stepsPer = STEPS / Math.LN2;
/** 2^(i/256) */
const fraction = Float64Array.from({ length: STEPS }, (_, index) => 2 ** (index / STEPS));
/** 2^-i; -104 / ln 2 is -150.04. */
const halvings = Float64Array.from({ length: 152 }, (_, index) => 2 ** -index);

/**
 * Writes exp(source[i]) to target[i] for `count` entries from `offset`, for values of at most 0 (log-probabilities; a rounding error
 * above 0 is allowed, up to 1e-3). Table of 2^(i/256) and a cubic: relative error below 1e-12 before the rounding to float32.
 * NaN and values above 1e-3 go to Math.exp.
 */
export function exponentiate(source: Float32Array, target: Float32Array, offset: number, count: number): void {
  for (let index = offset; index < offset + count; index++) {
    const x = source[index]!;
    if (x <= 0 && x > SMALLEST) {
      // -n steps below zero, so that the integer parts need no sign handling.
      const n = (0.5 - x * stepsPer) | 0;
      const r = x + n * perStep;
      const whole = (n + (STEPS - 1)) >> 8;
      target[index] = halvings[whole]! * fraction[(whole << 8) - n]! * (1 + r * (1 + r * (0.5 + r * (1 / 6))));
    } else {
      target[index] = x <= SMALLEST ? 0 : Math.exp(x);
    }
  }
}
