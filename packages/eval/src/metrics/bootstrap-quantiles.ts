/** Intervals of quantiles of values that are correlated with their neighbours. */

import type { Interval } from "./wilson-interval.js";

/** What to resample, and how. */
export interface BootstrapOptions {
  /** Neighbouring values resampled together; no batch spans two texts. `[start, end)` offsets into the values. */
  readonly batches: readonly (readonly [start: number, end: number])[];
  /** Quantiles wanted, each 0 to 1. */
  readonly fractions: readonly number[];
  /** Numbers in [0, 1); seeded, so that a report can be repeated. */
  readonly random: () => number;
  /** Resamples, default 400. */
  readonly resamples?: number;
}

/**
 * 95% intervals by the batch bootstrap (Kuensch 1989, with non-overlapping batches): as many batches are drawn with replacement as there
 * are, the quantile is taken by nearest rank, and the interval is the middle 95% of what the resamples give. Undefined below two batches.
 * The values are sorted once; a resample walks over them with the weights of their batches.
 */
export function bootstrapQuantiles(values: Float64Array, options: BootstrapOptions): readonly (Interval | undefined)[] {
  const { batches, fractions, random, resamples = 400 } = options;
  if (batches.length < 2) return fractions.map(() => undefined);
  const batchOf = new Int32Array(values.length).fill(-1);
  for (const [batch, [start, end]] of batches.entries()) batchOf.fill(batch, start, end);
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a]! - values[b]!);
  const found = fractions.map(() => new Float64Array(resamples));
  const weights = new Int32Array(batches.length);
  for (let resample = 0; resample < resamples; resample++) {
    weights.fill(0);
    let total = 0;
    for (let draw = 0; draw < batches.length; draw++) {
      const batch = Math.floor(random() * batches.length);
      weights[batch]!++;
      total += batches[batch]![1] - batches[batch]![0];
    }
    for (const [index, fraction] of fractions.entries()) found[index]![resample] = weightedQuantile(fraction * total);
  }
  return found.map((quantiles) => {
    quantiles.sort();
    return { low: quantiles[Math.floor(0.025 * resamples)]!, high: quantiles[Math.min(resamples - 1, Math.floor(0.975 * resamples))]! };
  });

  function weightedQuantile(rank: number): number {
    let below = 0;
    let last = NaN;
    for (const index of order) {
      const batch = batchOf[index]!;
      if (batch < 0 || weights[batch] === 0) continue;
      last = values[index]!;
      below += weights[batch]!;
      if (below >= rank) return last;
    }
    return last;
  }
}
