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

  test("levels that are not a codebook are refused", () => {
    expect(() => qNorm(histogramOf([[0, 1]]), Float32Array.of(1, 0))).toThrow(/levels\[1\]/);
  });
});
