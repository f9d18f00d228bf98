/** The occupied bins of a histogram as sorted points, with running sums. */

import { check } from "@kvquant/spec";
import type { WeightedHistogram } from "./histogram.js";

/** Points in increasing order, and sums over the points before each index. */
export interface WeightedPoints {
  readonly count: number;
  /** `[count]`, strictly increasing */
  readonly value: Float64Array;
  /** `[count]`, above 0; together 1 */
  readonly weight: Float64Array;
  /** Mean of all points; the sums are taken about it, so that they cancel less. */
  readonly centre: number;
  /** Entry i sums weight, weight * (value - centre), weight * (value - centre)^2 over points 0 .. i-1, `[count + 1]` each. */
  readonly sum0: Float64Array;
  readonly sum1: Float64Array;
  readonly sum2: Float64Array;
}

/**
 * Collects the bins with weight, scaled so that the weights sum to 1 (weights are squared gradients, often tiny).
 * @throws INVALID_ARGUMENT when there is none
 */
export function collectPoints(histogram: WeightedHistogram): WeightedPoints {
  const total = histogram.weight.reduce((sum, weight) => sum + weight, 0);
  check(total > 0 && Number.isFinite(total), "histogram", "samples of positive, finite total weight", `total weight ${total}`);
  const value: number[] = [];
  const weight: number[] = [];
  for (let bin = 0; bin < histogram.bins; bin++) {
    const share = histogram.weight[bin]! / total;
    if (!(share > 0)) continue;
    const mean = histogram.weightedSum[bin]! / histogram.weight[bin]!;
    const last = value.length - 1;
    // Rounding can put the means of neighbouring bins level or out of order by an ulp: one point then.
    if (last >= 0 && mean <= value[last]!) weight[last]! += share;
    else {
      value.push(mean);
      weight.push(share);
    }
  }
  const count = value.length;
  const centre = meanOf(value, weight, 0, count);
  const sum0 = new Float64Array(count + 1);
  const sum1 = new Float64Array(count + 1);
  const sum2 = new Float64Array(count + 1);
  for (let i = 0; i < count; i++) {
    sum0[i + 1] = sum0[i]! + weight[i]!;
    const offset = value[i]! - centre;
    sum1[i + 1] = sum1[i]! + weight[i]! * offset;
    sum2[i + 1] = sum2[i]! + weight[i]! * offset * offset;
  }
  return { count, value: Float64Array.from(value), weight: Float64Array.from(weight), centre, sum0, sum1, sum2 };
}

/** Mean of points from .. to-1 (not empty), added up directly: right even where their weight is lost in the running sums. */
export function clusterMean(points: WeightedPoints, from: number, to: number): number {
  return meanOf(points.value, points.weight, from, to);
}

function meanOf(value: ArrayLike<number>, weight: ArrayLike<number>, from: number, to: number): number {
  // About the first value, so that the mean of equal or neighbouring values stays among them.
  const origin = value[from]!;
  let mass = 0;
  let moment = 0;
  for (let i = from; i < to; i++) {
    mass += weight[i]!;
    moment += weight[i]! * (value[i]! - origin);
  }
  return Math.min(origin + moment / mass, value[to - 1]!);
}
