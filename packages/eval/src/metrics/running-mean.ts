/** Mean with two standard errors: of independent values, and of values correlated with their neighbours. */

/** How many neighbouring values one batch joins, default. */
export const BATCH_VALUES = 64;

/** Accumulates values in float64. */
export interface RunningMean {
  readonly count: number;
  /** NaN without values. */
  readonly mean: number;
  /** Standard error if the values were independent: `sd / sqrt(n)`, sd with n - 1. Undefined below two values. */
  readonly standardError: number | undefined;
  /**
   * Standard error by batch means: values of one text are correlated, sums over batches of neighbours nearly are not.
   * `sqrt(B / (B - 1) * sum_b (S_b - n_b * mean)^2) / n` over B batches with sums S_b of n_b values. Undefined below two batches.
   * This is the one reports print.
   */
  readonly batchStandardError: number | undefined;
  add(value: number): void;
  /** Closes the batch under way, so that none spans two windows; without values in it, does nothing. */
  endBatch(): void;
}

/** An empty accumulator; `batchValues` neighbours make a batch (default 64). @throws RangeError below 1 */
export function createRunningMean(batchValues: number = BATCH_VALUES): RunningMean {
  if (!(Number.isSafeInteger(batchValues) && batchValues >= 1)) throw new RangeError(`createRunningMean: expected batches of at least 1 value, got ${batchValues}`);
  const sums: number[] = [];
  const counts: number[] = [];
  let count = 0;
  let mean = 0;
  let squares = 0;
  let open = 0;
  let openSum = 0;
  const endBatch = (): void => {
    if (open === 0) return;
    sums.push(openSum);
    counts.push(open);
    open = 0;
    openSum = 0;
  };
  return {
    get count() {
      return count;
    },
    get mean() {
      return count === 0 ? NaN : mean;
    },
    get standardError() {
      return count < 2 ? undefined : Math.sqrt(squares / (count - 1) / count);
    },
    get batchStandardError() {
      const batches = sums.length + (open > 0 ? 1 : 0);
      if (batches < 2) return undefined;
      let spread = open > 0 ? (openSum - open * mean) ** 2 : 0;
      for (let batch = 0; batch < sums.length; batch++) spread += (sums[batch]! - counts[batch]! * mean) ** 2;
      return Math.sqrt((batches / (batches - 1)) * spread) / count;
    },
    add(value) {
      count++;
      // Welford (1962): no difference of large sums.
      const difference = value - mean;
      mean += difference / count;
      squares += difference * (value - mean);
      openSum += value;
      if (++open === batchValues) endBatch();
    },
    endBatch,
  };
}
