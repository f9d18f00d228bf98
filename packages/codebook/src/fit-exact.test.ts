import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fitExact } from "./fit-exact.js";
import { createHistogram } from "./histogram.js";
import { histogramError } from "./histogram-error.js";
import { bellHistogram, costOf, histogramOf, meansOf, randomPoints } from "./random-histogram.fixture.js";
import type { Point } from "./random-histogram.fixture.js";

/** The least cost over every way of cutting the sorted points into at most `clusters` runs. */
function bruteForceCost(points: readonly Point[], clusters: number): number {
  if (points.length === 0) return 0;
  if (clusters === 0) return Infinity;
  let best = Infinity;
  for (let size = 1; size <= points.length; size++) {
    const run = points.slice(0, size);
    const mass = run.reduce((sum, [, weight]) => sum + weight, 0);
    const mean = run.reduce((sum, [value, weight]) => sum + (weight / mass) * value, 0);
    best = Math.min(best, costOf(run, [mean]) + bruteForceCost(points.slice(size), clusters - 1));
  }
  return best;
}

function expectStrictlyIncreasing(levels: Float32Array): void {
  for (let i = 1; i < levels.length; i++) expect(levels[i]!).toBeGreaterThan(levels[i - 1]!);
}

describe("fitExact", () => {
  test("reaches the least cost over all partitions, for every small problem", () => {
    fc.assert(
      fc.property(randomPoints(9), fc.integer({ min: 1, max: 5 }), (points, levels) => {
        const histogram = histogramOf(points);
        const means = meansOf(histogram);
        const fitted = fitExact(histogram, levels);
        const total = means.reduce((sum, [, weight]) => sum + weight, 0);
        expect(fitted.length).toBe(levels);
        expectStrictlyIncreasing(fitted);
        // Levels are rounded to fp32: 2^-25 at most, which raises the cost by its square.
        expect(costOf(means, fitted)).toBeLessThanOrEqual(bruteForceCost(means, levels) + 1e-14 * total);
      }),
      { numRuns: 500 },
    );
  });

  test("finds the optimum that Lloyd's iteration from the quantiles would miss", () => {
    const histogram = histogramOf([[-1, 100], [-0.9, 100], [0.9, 1], [1, 1]]);
    expect([...fitExact(histogram, 2)]).toEqual([Math.fround(-0.95), Math.fround(0.95)]);
  });

  test("no move of a single level lowers the cost on a large histogram", () => {
    const histogram = bellHistogram(20_000);
    const levels = fitExact(histogram, 8);
    const cost = histogramError(histogram, levels);
    for (let i = 0; i < 8; i++) {
      for (const move of [-1e-3, 1e-3]) {
        const moved = levels.slice();
        moved[i]! += move;
        expect(histogramError(histogram, moved)).toBeGreaterThan(cost);
      }
    }
  });

  test("is deterministic and does not depend on the scale of the weights", () => {
    const histogram = bellHistogram(5000);
    const scaled = { ...histogram, weight: histogram.weight.map((w) => w * 2 ** -300), weightedSum: histogram.weightedSum.map((w) => w * 2 ** -300) };
    expect(fitExact(histogram, 16)).toEqual(fitExact(histogram, 16));
    expect(fitExact(scaled, 16)).toEqual(fitExact(histogram, 16));
  });

  test("equally good cuts fall to the left", () => {
    // Merging any two neighbours of four equal points costs the same, exactly: all numbers are dyadic.
    expect([...fitExact(histogramOf([[-0.75, 1], [-0.25, 1], [0.25, 1], [0.75, 1]]), 3)]).toEqual([-0.75, -0.25, 0.5]);
  });

  test("with fewer points than levels, every point is a level and the rest spread over the range", () => {
    expect([...fitExact(histogramOf([[0, 3]]), 1)]).toEqual([0]);
    expect([...fitExact(histogramOf([[0, 3]]), 4)]).toEqual([-1, -0.5, 0, 1]);
    expect([...fitExact(histogramOf([[-1, 3], [1, 1]]), 4)]).toEqual([-1, -0.5, 0, 1]);
    const tight = fitExact(histogramOf([[0.5, 1], [0.5 + 1e-9, 1]], 2 ** 20), 8);
    expect(tight.length).toBe(8);
    expectStrictlyIncreasing(tight);
  });

  test("a cluster whose weight vanishes beside the others keeps the mean of its own points", () => {
    const levels = fitExact(histogramOf([[-0.5, 1], [-0.4, 1], [0.7, 1e-25], [0.9, 1e-25], [0.95, 1e-25]]), 3);
    expectStrictlyIncreasing(levels);
    for (const level of levels) expect(Math.abs(level)).toBeLessThanOrEqual(0.95);
  });

  test("samples of weight 0 leave no trace, and nothing else is INVALID_ARGUMENT", () => {
    expect(fitExact(histogramOf([[0.25, 1], [0.75, 0], [-0.75, 2]]), 2)).toEqual(fitExact(histogramOf([[0.25, 1], [-0.75, 2]]), 2));
    expect(() => fitExact(createHistogram(64, -1, 1), 4)).toThrow(/histogram: expected samples of positive, finite total weight, got total weight 0/);
    expect(() => fitExact(histogramOf([[0.5, 0]]), 4)).toThrow(/total weight 0/);
    expect(() => fitExact(histogramOf([[0.5, 1]]), 0)).toThrow(/levels/);
    expect(() => fitExact(histogramOf([[0.5, 1]]), 257)).toThrow(/levels/);
  });
});
