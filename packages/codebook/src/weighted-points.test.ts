import { expect, test } from "vitest";
import type { WeightedHistogram } from "./histogram.js";
import { clusterMean, collectPoints } from "./weighted-points.js";

/** A histogram over [-1, 1] with these sums, made without addSample. */
function sums(weight: number[], weightedSum: number[]): WeightedHistogram {
  return { bins: weight.length, minimum: -1, maximum: 1, weight: Float64Array.from(weight), weightedSum: Float64Array.from(weightedSum) };
}

test("points are the means of bins with weight, with shares of 1 and running sums about the mean of all", () => {
  // Shares 1/4, 1/4, 1/2 of -1, 0 and 1: the mean is 1/4. All numbers are dyadic, hence exact.
  expect(collectPoints(sums([2, 0, 2, 4], [-2, 0, 0, 4]))).toEqual({
    count: 3,
    value: Float64Array.of(-1, 0, 1),
    weight: Float64Array.of(0.25, 0.25, 0.5),
    centre: 0.25,
    sum0: Float64Array.of(0, 0.25, 0.5, 1),
    sum1: Float64Array.of(0, -0.3125, -0.375, 0),
    sum2: Float64Array.of(0, 0.390625, 0.40625, 0.6875),
  });
});

test("means of neighbouring bins that are level, or out of order, are one point at the first of them with the weight of all", () => {
  const below = 0.5 - 2 ** -53;
  const { value, weight } = collectPoints(sums([1, 1, 1, 1], [-0.5, 0.5, 0.5, below]));
  expect([[...value], [...weight]]).toEqual([[-0.5, 0.5], [0.25, 0.75]]);
  // The first bin is no exception.
  expect([...collectPoints(sums([1, 1], [0.5, 0.5])).value]).toEqual([0.5]);
});

test("a weight that is nothing beside the others leaves no point", () => {
  expect([...collectPoints(sums([1e-300, 1e300], [-1e-300, 1e300])).value]).toEqual([1]);
});

test("the mean of a run is taken over it alone, and lies within it even where its weight is lost beside the others", () => {
  const tiny = 2 ** -100;
  const points = collectPoints(sums([1, 1, 3, tiny, 3 * tiny], [-1, 0, 1.5, 0.75 * tiny, 2.8125 * tiny]));
  expect([...points.value]).toEqual([-1, 0, 0.5, 0.75, 0.9375]);
  expect(clusterMean(points, 1, 3)).toBeCloseTo(0.375, 15);
  expect(clusterMean(points, 3, 5)).toBeCloseTo(0.890625, 15);
  // Neighbouring numbers: a mean about 0 could round beyond them.
  const third = 1 / 3;
  const close = collectPoints(sums([1, 1, 1], [third, third + 2 ** -54, third + 2 ** -53]));
  for (const [from, to] of [[0, 1], [0, 2], [0, 3], [1, 3]] as const) {
    expect(clusterMean(close, from, to)).toBeGreaterThanOrEqual(close.value[from]!);
    expect(clusterMean(close, from, to)).toBeLessThanOrEqual(close.value[to - 1]!);
  }
});

test("weights whose total is not a positive finite number are refused", () => {
  for (const weight of [[0, 0], [1e308, 1e308], [NaN, 1]]) expect(() => collectPoints(sums(weight, [0, 0]))).toThrow(/histogram: expected samples of positive, finite total weight/);
});
