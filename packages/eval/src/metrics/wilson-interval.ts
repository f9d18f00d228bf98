/** Interval of a share from counts. */

/** Bounds of an interval. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Standard normal quantile at 97.5%: intervals hold 95%. */
export const NORMAL_95 = 1.959963984540054;

/**
 * Interval of the probability behind `successes` of `trials` (E. B. Wilson, JASA 1927): unlike mean +- error it stays within 0 to 1 and
 * is no point at 0 or all successes. Without trials it is 0 to 1.
 * @param z normal quantile, default that of 95%
 * @throws RangeError for counts that cannot be
 */
export function wilsonInterval(successes: number, trials: number, z: number = NORMAL_95): Interval {
  if (!(successes >= 0 && successes <= trials)) throw new RangeError(`wilsonInterval: expected successes from 0 to the trials ${trials}, got ${successes}`);
  if (trials === 0) return { low: 0, high: 1 };
  const share = successes / trials;
  const squared = (z * z) / trials;
  const middle = (share + squared / 2) / (1 + squared);
  const half = (z * Math.sqrt((share * (1 - share)) / trials + squared / (4 * trials))) / (1 + squared);
  // At the ends the formula is exact only up to rounding.
  return { low: successes === 0 ? 0 : Math.max(0, middle - half), high: successes === trials ? 1 : Math.min(1, middle + half) };
}
