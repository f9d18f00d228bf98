import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fitExact } from "./fit-exact.js";
import { createHistogram } from "./histogram.js";
import { midpoints, nearestCode } from "./nearest-code.js";
import { qNorm } from "./q-norm.js";
import { bellHistogram, histogramOf, meansOf } from "./random-histogram.fixture.js";
import type { Point } from "./random-histogram.fixture.js";

/** Weighted mean and standard deviation. */
function momentsOf(points: readonly Point[]): [mean: number, deviation: number] {
  const mass = points.reduce((sum, [, weight]) => sum + weight, 0);
  const mean = points.reduce((sum, [value, weight]) => sum + value * weight, 0) / mass;
  return [mean, Math.sqrt(points.reduce((sum, [value, weight]) => sum + weight * (value - mean) ** 2, 0) / mass)];
}

describe("qNorm", () => {
  test("values encoded with the original levels and decoded with the new ones keep mean and standard deviation", () => {
    const histogram = bellHistogram(20_000);
    for (const count of [2, 4, 16]) {
      const levels = fitExact(histogram, count).map((level) => level * 0.9 + 0.03);
      const decode = qNorm(histogram, levels);
      const middles = midpoints(levels);
      const points = meansOf(histogram);
      const [mean, deviation] = momentsOf(points);
      const [decodedMean, decodedDeviation] = momentsOf(points.map(([value, weight]) => [decode[nearestCode(middles, value)]!, weight]));
      expect(Math.abs(decodedMean - mean)).toBeLessThan(1e-6);
      expect(Math.abs(decodedDeviation - deviation)).toBeLessThan(1e-6);
      expect(decode).not.toEqual(levels);
    }
  });

  test("levels widen about the mean by d1/d2, worked by hand", () => {
    // Values -1, 0, 1 on levels -0.5 and 0.5: 0 takes the lower; m1 = 0, d1^2 = 2/3, m2 = -1/6, d2^2 = 2/9.
    const decode = qNorm(histogramOf([[-1, 1], [0, 1], [1, 1]]), Float32Array.of(-0.5, 0.5));
    const ratio = Math.sqrt(3);
    expect(decode[0]).toBeCloseTo(-0.5 * ratio + ratio / 6, 6);
    expect(decode[1]).toBeCloseTo(0.5 * ratio + ratio / 6, 6);
  });

  test("a distribution without spread only shifts the levels", () => {
    expect([...qNorm(histogramOf([[0.25, 5]]), Float32Array.of(-0.5, 0.5))]).toEqual([-0.75, 0.25]);
  });

  test("an empty histogram is INVALID_ARGUMENT", () => {
    expect(() => qNorm(createHistogram(8, -1, 1), Float32Array.of(0, 1))).toThrow(/total weight 0/);
  });

  test("values that all take one level only shift the levels, to their mean", () => {
    // 0.0625 and 0.1875, mean 0.125, both on the level 0.25: an eighth down.
    expect([...qNorm(histogramOf([[0.0625, 1], [0.1875, 1]]), Float32Array.of(-0.75, 0.25, 3.75))]).toEqual([-0.875, 0.125, 3.625]);
  });

  test("a second level whose weight is next to nothing does not count", () => {
    const histogram = histogramOf([[-0.125, 5e-324], [0.125, 1]]);
    expect([...qNorm(histogram, Float32Array.of(-0.25, 0.25))]).toEqual([-0.375, 0.125]); // neither variance is above 0
    expect([...qNorm(histogram, Float32Array.of(-0.5, 0.5))]).toEqual([-0.875, 0.125]); // that of the levels is
  });

  test("levels that are not a codebook are refused", () => {
    expect(() => qNorm(histogramOf([[0, 1]]), Float32Array.of(1, 0))).toThrow(/levels\[1\]/);
  });

  test("values away from zero keep mean and standard deviation too", () => {
    const histogram = histogramOf([[0.3, 1], [0.5, 2], [0.6, 3], [0.9, 1]]);
    const levels = Float32Array.of(0.25, 0.5, 0.75);
    const points = meansOf(histogram);
    const decoded = points.map(([value, weight]) => [qNorm(histogram, levels)[nearestCode(midpoints(levels), value)]!, weight] as const);
    expect(momentsOf(decoded)[0]).toBeCloseTo(momentsOf(points)[0], 6);
    expect(momentsOf(decoded)[1]).toBeCloseTo(momentsOf(points)[1], 6);
  });

  test("any values that all take one level only shift the levels, whatever rounding does to their weights", () => {
    const point = fc.tuple(fc.double({ min: 0.1, max: 0.3, noNaN: true }), fc.integer({ min: 1, max: 1000 }));
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 20 }), (points) => {
        const histogram = histogramOf(points);
        const [mean] = momentsOf(meansOf(histogram));
        const decode = qNorm(histogram, Float32Array.of(-0.75, 0.2, 3.75));
        for (const [i, level] of [-0.75, 0.2, 3.75].entries()) expect(decode[i]).toBeCloseTo(level + mean - 0.2, 5);
      }),
    );
  });
});
