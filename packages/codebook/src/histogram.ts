/** Weighted histograms: all that fitting levels needs to know about the data. */

import { check, checkInteger, KvquantError } from "@kvquant/spec";

/**
 * Sums of weights and of weight times value for equal bins over [minimum, maximum]; the points that levels are fitted to are the bin
 * means `weightedSum / weight`. "Exact" fits are exact for these points.
 */
export interface WeightedHistogram {
  readonly bins: number;
  readonly minimum: number;
  readonly maximum: number;
  /** `[bins]` */
  readonly weight: Float64Array;
  /** `[bins]` */
  readonly weightedSum: Float64Array;
}

/**
 * Makes an empty histogram; 4,096 bins over [-1, 1] suit normalised values.
 * @throws INVALID_ARGUMENT unless minimum < maximum, both finite, and there is a bin
 */
export function createHistogram(bins: number, minimum: number, maximum: number): WeightedHistogram {
  checkInteger("histogram: bins", bins, { minimum: 1 });
  // The difference: bins of a range wider than float64 would all be the first one.
  check(minimum < maximum && Number.isFinite(maximum - minimum), "histogram: range", "finite minimum < maximum", `${minimum} and ${maximum}`);
  return { bins, minimum, maximum, weight: new Float64Array(bins), weightedSum: new Float64Array(bins) };
}

/**
 * Adds one value with a weight of at least 0. A value outside the range counts in the end bin, at its true value.
 * @throws INVALID_ARGUMENT for NaN, infinity, a negative weight or a product of both beyond float64; the histogram is then unchanged
 */
export function addSample(histogram: WeightedHistogram, value: number, weight: number): void {
  // NaN and infinity on either side, and products beyond float64, all leave a moment that is not finite.
  const moment = weight * value;
  if (!(weight >= 0) || moment - moment !== 0) refuse(value, weight);
  const { bins, minimum, maximum } = histogram;
  const position = ((value - minimum) / (maximum - minimum)) * bins;
  const bin = position >= bins ? bins - 1 : position <= 0 ? 0 : position | 0;
  histogram.weight[bin]! += weight;
  histogram.weightedSum[bin]! += moment;
}

/**
 * Adds `values[i]` with weight `weights[i]` (1 without `weights`) for all i; the same as `addSample` one by one.
 * @throws INVALID_ARGUMENT for NaN, infinity or a negative weight; the samples before it have then been added
 */
export function addSamples(histogram: WeightedHistogram, values: Float32Array, weights?: Float32Array): void {
  if (weights !== undefined) check(weights.length === values.length, "addSamples: weights", `length ${values.length}`, weights.length);
  for (let i = 0; i < values.length; i++) addSample(histogram, values[i]!, weights === undefined ? 1 : weights[i]!);
}

/**
 * Adds the sums of `source` to `target`.
 * @throws INVALID_ARGUMENT when bins or range differ
 */
export function mergeHistogram(target: WeightedHistogram, source: WeightedHistogram): void {
  const same = target.bins === source.bins && target.minimum === source.minimum && target.maximum === source.maximum;
  check(same, "mergeHistogram", `${target.bins} bins over [${target.minimum}, ${target.maximum}]`, `${source.bins} bins over [${source.minimum}, ${source.maximum}]`);
  for (let bin = 0; bin < target.bins; bin++) {
    target.weight[bin]! += source.weight[bin]!;
    target.weightedSum[bin]! += source.weightedSum[bin]!;
  }
}

function refuse(value: number, weight: number): never {
  throw new KvquantError("INVALID_ARGUMENT", `addSample: expected a finite value, a finite weight of at least 0 and a finite product of both, got value ${value}, weight ${weight}`);
}
