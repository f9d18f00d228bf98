/** Histograms of values on [-1, 1]. */

import type { WeightedHistogram } from "@kvquant/codebook";
import type { NormalisedHistogram } from "./layer-statistics.js";

/** Bins over [-1, 1]. */
export const NORMALISED_BINS = 4096;

/** Sums of a bin lie together, one cache line instead of four: weight, weight * x, count, count * x. `[4096 * 4]` */
export type NormalisedSums = Float64Array;

/** Empty sums. */
export function createNormalisedSums(): NormalisedSums {
  return new Float64Array(4 * NORMALISED_BINS);
}

/** A run of values to normalise: `(value - zero) * perScale`. */
export interface NormalisedRun {
  readonly start: number;
  readonly length: number;
  readonly zero: number;
  readonly perScale: number;
  /** Multiplies the weights. */
  readonly gain: number;
}

/** Adds `values[start .. start + length)`, normalised and clamped to [-1, 1], with weights `weights[same] * gain`. */
export function addNormalisedRun(sums: NormalisedSums, values: Float32Array, weights: Float32Array, run: NormalisedRun): void {
  const { start, length, zero, perScale, gain } = run;
  for (let index = start; index < start + length; index++) {
    const x = (values[index]! - zero) * perScale;
    addNormalised(sums, x, weights[index]! * gain, 1);
  }
}

/** Adds `x`, clamped to [-1, 1], `count` times with total weight `weight`. */
export function addNormalised(sums: NormalisedSums, x: number, weight: number, count: number): void {
  const value = x < -1 ? -1 : x > 1 ? 1 : x;
  let bin = ((value + 1) * (NORMALISED_BINS / 2)) | 0;
  if (bin === NORMALISED_BINS) bin--;
  const place = 4 * bin;
  sums[place]! += weight;
  sums[place + 1]! += weight * value;
  sums[place + 2]! += count;
  sums[place + 3]! += count * value;
}

/** The sums as histograms. */
export function normalisedHistogram(sums: NormalisedSums): NormalisedHistogram {
  return { weighted: pick(sums, 0), plain: pick(sums, 2) };
}

/** Smallest and largest of `values[start .. start + length)`. */
export function findRange(values: Float32Array, start: number, length: number): { low: number; high: number } {
  let low = values[start]!;
  let high = low;
  for (let index = start + 1; index < start + length; index++) {
    const value = values[index]!;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

function pick(sums: NormalisedSums, first: number): WeightedHistogram {
  const weight = new Float64Array(NORMALISED_BINS);
  const weightedSum = new Float64Array(NORMALISED_BINS);
  for (let bin = 0; bin < NORMALISED_BINS; bin++) {
    weight[bin] = sums[4 * bin + first]!;
    weightedSum[bin] = sums[4 * bin + first + 1]!;
  }
  return { bins: NORMALISED_BINS, minimum: -1, maximum: 1, weight, weightedSum };
}
