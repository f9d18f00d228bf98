import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createHistogram } from "./histogram.js";
import { histogramError } from "./histogram-error.js";
import { costOf, histogramOf, meansOf, randomPoints } from "./random-histogram.fixture.js";

describe("histogramError", () => {
  test("equals the sum over all bins with the nearest of all levels", () => {
    fc.assert(
      fc.property(randomPoints(30), fc.uniqueArray(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 20 }), (points, ticks) => {
        const histogram = histogramOf(points, 50);
        const levels = Float32Array.from(ticks.sort((a, b) => a - b), (k) => k / 16);
        const expected = costOf(meansOf(histogram), levels);
        expect(Math.abs(histogramError(histogram, levels) - expected)).toBeLessThanOrEqual(1e-12 * (1 + expected));
      }),
    );
  });

  test("is 0 for an empty histogram, and refuses levels that do not increase", () => {
    expect(histogramError(createHistogram(8, -1, 1), Float32Array.of(0, 1))).toBe(0);
    expect(() => histogramError(createHistogram(8, -1, 1), Float32Array.of(1, 1))).toThrow(/levels\[1\]/);
    expect(() => histogramError(createHistogram(8, -1, 1), new Float32Array(0))).toThrow(/1 to 256 levels/);
  });
});
