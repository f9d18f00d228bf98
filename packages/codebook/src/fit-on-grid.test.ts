import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fitExact } from "./fit-exact.js";
import { fitOnGrid } from "./fit-on-grid.js";
import { snapToGrid } from "./grid.js";
import { createHistogram } from "./histogram.js";
import { histogramError } from "./histogram-error.js";
import { bellHistogram, costOf, histogramOf, meansOf, randomPoints } from "./random-histogram.fixture.js";

/** Every choice of `count` of the points k/steps, increasing. */
function choices(steps: number, count: number, from = -steps): number[][] {
  if (count === 0) return [[]];
  const all: number[][] = [];
  for (let k = from; k <= steps; k++) for (const rest of choices(steps, count - 1, k + 1)) all.push([Math.fround(k / steps), ...rest]);
  return all;
}

describe("fitOnGrid", () => {
  test("reaches the least cost over all choices of grid points, for every small problem on a coarse grid", () => {
    fc.assert(
      fc.property(randomPoints(12), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 3, max: 5 }), (points, levels, steps) => {
        const histogram = histogramOf(points);
        const means = meansOf(histogram);
        const fitted = fitOnGrid(histogram, levels, steps);
        const total = means.reduce((sum, [, weight]) => sum + weight, 0);
        const best = choices(steps, levels).reduce((least, choice) => Math.min(least, costOf(means, choice)), Infinity);
        expect(costOf(means, fitted)).toBeLessThanOrEqual(best + 1e-14 * total);
        expect(fitted.length).toBe(levels);
        for (const [i, level] of fitted.entries()) {
          expect(level).toBe(Math.fround(Math.round(level * steps) / steps));
          if (i > 0) expect(level).toBeGreaterThan(fitted[i - 1]!);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("is at most as bad as the exact levels snapped to the grid, and at least as bad as the exact levels", () => {
    const histogram = bellHistogram(50_000);
    for (const levels of [4, 8, 16, 32]) {
      const error = histogramError(histogram, fitOnGrid(histogram, levels));
      const exact = fitExact(histogram, levels);
      expect(error).toBeGreaterThanOrEqual(histogramError(histogram, exact));
      expect(error).toBeLessThanOrEqual(histogramError(histogram, snapToGrid(exact)) * (1 + 1e-12));
    }
  });

  test("beats snapping where rounding each level on its own is wrong", () => {
    // Exact levels 0.15 and 0.6 snap to 0.25 and 0.5 (cost 0.275); another partition, 0 | 0.3 0.5 0.7, costs 0.2 on the grid.
    const histogram = histogramOf([[0, 3], [0.3, 3], [0.5, 2], [0.7, 2]]);
    expect([...snapToGrid(fitExact(histogram, 2), 4)]).toEqual([0.25, 0.5]);
    expect([...fitOnGrid(histogram, 2, 4)]).toEqual([0, 0.5]);
  });

  test("levels that buy nothing go to the free grid points farthest from the others", () => {
    expect([...fitOnGrid(histogramOf([[0, 1]]), 1, 5)]).toEqual([0]);
    expect([...fitOnGrid(histogramOf([[0, 1]]), 3, 5)]).toEqual([-1, 0, 1]);
    expect([...fitOnGrid(histogramOf([[1, 1]]), 4, 4)]).toEqual([-1, -0.5, 0, 1]);
    expect([...fitOnGrid(histogramOf([[1, 1]]), 11, 5)].map((level) => Math.round(level * 5))).toEqual([-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5]);
  });

  test("of equally good sets the one with the lowest highest level is taken", () => {
    expect([...fitOnGrid(histogramOf([[0.5, 1]]), 1, 1)]).toEqual([0]);
    expect([...fitOnGrid(histogramOf([[-1, 1], [0.5, 1]]), 2, 1)]).toEqual([-1, 0]);
    expect([...fitOnGrid(histogramOf([[-0.5, 1], [1, 1]]), 2, 1)]).toEqual([-1, 1]);
  });

  test("as many levels as the grid has points are all of it", () => {
    expect([...fitOnGrid(histogramOf([[0.3, 1], [0.4, 2]]), 3, 1)]).toEqual([-1, 0, 1]);
    for (const steps of [0, 2049]) expect(() => fitOnGrid(histogramOf([[0, 1]]), 1, steps)).toThrow(/grid steps: expected an integer from 1 to 2048/);
  });

  test("values beyond [-1, 1] are served by the end levels", () => {
    expect([...fitOnGrid(histogramOf([[-3, 1], [2, 1]]), 2)]).toEqual([-1, 1]);
  });

  test("is deterministic", () => {
    expect(fitOnGrid(bellHistogram(3000), 16)).toEqual(fitOnGrid(bellHistogram(3000), 16));
  });

  test("an empty histogram and more levels than grid points are INVALID_ARGUMENT", () => {
    expect(() => fitOnGrid(createHistogram(64, -1, 1), 4)).toThrow(/total weight 0/);
    expect(() => fitOnGrid(histogramOf([[0, 1]]), 8, 3)).toThrow(/at most 7, the points of the grid k\/3, got 8/);
  });
});
