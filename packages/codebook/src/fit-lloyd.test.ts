import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fitExact } from "./fit-exact.js";
import { fitLloyd } from "./fit-lloyd.js";
import { createHistogram } from "./histogram.js";
import { histogramError } from "./histogram-error.js";
import { uniformLevels } from "./uniform-levels.js";
import { bellHistogram, costOf, histogramOf, meansOf, randomPoints } from "./random-histogram.fixture.js";

describe("fitLloyd", () => {
  test("never beats the exact fit, and comes within 2% of it on bell-shaped data", () => {
    const histogram = bellHistogram(50_000);
    for (const levels of [4, 8, 16]) {
      const exact = histogramError(histogram, fitExact(histogram, levels));
      const lloyd = histogramError(histogram, fitLloyd(histogram, levels));
      expect(lloyd).toBeGreaterThanOrEqual(exact * (1 - 1e-12));
      expect(lloyd).toBeLessThan(exact * 1.02);
    }
  });

  test("every level ends at the mean of its cell", () => {
    fc.assert(
      fc.property(randomPoints(20), fc.integer({ min: 1, max: 6 }), fc.constantFrom("quantile" as const, "uniform" as const), (points, count, initial) => {
        const histogram = histogramOf(points);
        const means = meansOf(histogram);
        const levels = fitLloyd(histogram, count, { initial });
        for (let cell = 0; cell < count; cell++) {
          const low = cell === 0 ? -Infinity : (levels[cell - 1]! + levels[cell]!) / 2;
          const high = cell === count - 1 ? Infinity : (levels[cell]! + levels[cell + 1]!) / 2;
          // A value within fp32 rounding of a boundary may be on either side.
          if (means.some(([value]) => Math.abs(value - low) < 1e-6 || Math.abs(value - high) < 1e-6)) continue;
          const inside = means.filter(([value]) => value > low && value <= high);
          const mass = inside.reduce((sum, [, weight]) => sum + weight, 0);
          if (inside.length === 0) continue;
          expect(Math.abs(levels[cell]! - inside.reduce((sum, [value, weight]) => sum + (value * weight) / mass, 0))).toBeLessThan(1e-6);
        }
      }),
    );
  });

  test("more iterations never cost more, and none return the initial levels", () => {
    const histogram = bellHistogram(10_000);
    const initial = uniformLevels(3);
    expect(fitLloyd(histogram, 8, { initial, iterations: 0 })).toEqual(initial);
    let before = histogramError(histogram, initial);
    for (const iterations of [1, 2, 5, 20, 100]) {
      const error = histogramError(histogram, fitLloyd(histogram, 8, { initial, iterations }));
      expect(error).toBeLessThanOrEqual(before);
      before = error;
    }
  });

  test("the starting points are those documented", () => {
    const histogram = histogramOf([[-0.75, 1], [-0.25, 1], [0.25, 1], [0.75, 1]]);
    expect([...fitLloyd(histogram, 2, { iterations: 0 })]).toEqual([-0.75, 0.25]);
    expect([...fitLloyd(histogram, 4, { initial: "uniform", iterations: 0 })]).toEqual([-0.75, -0.25, 0.25, 0.75]);
    expect([...fitLloyd(histogramOf([[0, 1]]), 4)]).toEqual([-1, -0.5, 0, 1]);
  });

  test("a point on the middle of two levels belongs to the lower one", () => {
    const histogram = histogramOf([[-1, 1], [0, 1], [1, 1]]);
    expect([...fitLloyd(histogram, 2, { initial: Float32Array.of(-1, 1), iterations: 1 })]).toEqual([-0.5, 1]);
  });

  test("it runs 100 iterations unless told otherwise", () => {
    const histogram = bellHistogram(50_000);
    const [fewer, hundred, more] = [99, 100, 101].map((iterations) => fitLloyd(histogram, 64, { iterations }));
    expect(hundred).not.toEqual(fewer);
    expect(hundred).not.toEqual(more);
    expect(fitLloyd(histogram, 64)).toEqual(hundred);
  });

  test("a level with an empty cell stays", () => {
    const levels = fitLloyd(histogramOf([[-0.5, 1], [-0.4, 1]]), 3, { initial: Float32Array.of(-0.6, -0.3, 0.9) });
    expect(levels[2]).toBe(Math.fround(0.9));
    expect(costOf([[-0.5, 1], [-0.4, 1]], levels)).toBeLessThan(1e-12);
  });

  test("an empty histogram and wrong options are INVALID_ARGUMENT", () => {
    expect(() => fitLloyd(createHistogram(64, -1, 1), 4)).toThrow(/total weight 0/);
    expect(() => fitLloyd(histogramOf([[0, 1]]), 4, { initial: Float32Array.of(1, 2) })).toThrow(/initial: expected length 4/);
    expect(() => fitLloyd(histogramOf([[0, 1]]), 2, { initial: Float32Array.of(2, 1) })).toThrow(/levels\[1\]/);
    expect(() => fitLloyd(histogramOf([[0, 1]]), 2, { iterations: -1 })).toThrow(/iterations/);
  });

  test("a start that is none of those named, and a fraction of an iteration, are refused", () => {
    expect(() => fitLloyd(histogramOf([[0, 1]]), 2, { initial: "random" as "uniform" })).toThrow(/initial: expected quantile, uniform or levels, got random/);
    expect(() => fitLloyd(histogramOf([[0, 1]]), 2, { iterations: 1.5 })).toThrow(/iterations/);
    for (const count of [0, 257]) expect(() => fitLloyd(histogramOf([[0, 1]]), count)).toThrow(/levels/);
  });
});
