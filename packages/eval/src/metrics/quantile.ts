/** Quantiles of a sample. */

/**
 * Quantile `fraction` (0 to 1) of values, linear between the two nearest order statistics (the rule of NumPy's default).
 * `values` is not changed; NaN for an empty sample.
 * @throws RangeError for a fraction outside 0 to 1
 */
export function quantile(values: ArrayLike<number>, fraction: number): number {
  return quantileOfSorted(Float64Array.from(values).sort(), fraction);
}

/** As {@link quantile}, of values already sorted upwards. */
export function quantileOfSorted(sorted: Float64Array, fraction: number): number {
  if (!(fraction >= 0 && fraction <= 1)) throw new RangeError(`quantile: expected a fraction from 0 to 1, got ${fraction}`);
  if (sorted.length === 0) return NaN;
  const position = fraction * (sorted.length - 1);
  const lower = Math.floor(position);
  const share = position - lower;
  const below = sorted[lower]!;
  return share === 0 ? below : below + share * (sorted[lower + 1]! - below);
}
