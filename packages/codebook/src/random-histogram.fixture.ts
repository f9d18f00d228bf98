/** Histograms for tests. */

import fc from "fast-check";
import { addSample, createHistogram } from "./histogram.js";
import type { WeightedHistogram } from "./histogram.js";

/** A point of a small problem: value and weight. */
export type Point = readonly [value: number, weight: number];

/** Up to `count` points in [-1, 1]; many repeated values and equal weights, some weights 0 or tiny, so that ties and degenerate cases come up. */
export function randomPoints(count: number): fc.Arbitrary<Point[]> {
  const value = fc.oneof(fc.integer({ min: -8, max: 8 }).map((k) => k / 8), fc.double({ min: -1, max: 1, noNaN: true }));
  const weight = fc.oneof(fc.constant(1), fc.constant(0), fc.double({ min: 1e-3, max: 100, noNaN: true }), fc.integer({ min: -20, max: 2 }).map((k) => 10 ** k));
  return fc.array(fc.tuple(value, weight), { minLength: 1, maxLength: count }).filter((points) => points.some(([, w]) => w > 0));
}

export function histogramOf(points: readonly Point[], bins = 4096): WeightedHistogram {
  const histogram = createHistogram(bins, -1, 1);
  for (const [value, weight] of points) addSample(histogram, value, weight);
  return histogram;
}

/** The bin means with weight, in order, computed apart from the code under test. */
export function meansOf(histogram: WeightedHistogram): Point[] {
  return Array.from({ length: histogram.bins }, (_, bin): Point => [histogram.weightedSum[bin]! / histogram.weight[bin]!, histogram.weight[bin]!]).filter(([, weight]) => weight > 0);
}

/** sum w (x - c)^2 with the nearest of `levels`, by looking at all of them. */
export function costOf(points: readonly Point[], levels: ArrayLike<number>): number {
  let cost = 0;
  for (const [value, weight] of points) {
    let least = Infinity;
    for (let i = 0; i < levels.length; i++) least = Math.min(least, (value - levels[i]!) ** 2);
    cost += weight * least;
  }
  return cost;
}

/** A realistic histogram: `samples` bell-shaped values in [-1, 1] with heavy-tailed weights, the same every time. */
export function bellHistogram(samples: number, bins = 4096): WeightedHistogram {
  const histogram = createHistogram(bins, -1, 1);
  let state = 1;
  const next = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  for (let i = 0; i < samples; i++) addSample(histogram, (next() + next() + next() + next()) / 2 - 1, next() ** 4);
  return histogram;
}
