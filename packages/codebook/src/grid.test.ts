import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { snapToGrid } from "./grid.js";

describe("snapToGrid", () => {
  test("levels move to the nearest grid point, ties away from zero, and those beyond 1 to the end", () => {
    expect([...snapToGrid(Float32Array.of(-1.7, -0.6, -0.375, 0.1, 0.375, 1.2), 4)]).toEqual([-1, -0.5, -0.25, 0, 0.5, 1]);
    expect([...snapToGrid(Float32Array.of(-0.375, 0.375), 4)]).toEqual([-0.5, 0.5]);
  });

  test("levels that meet move up by the fewest steps, or down at the upper end", () => {
    expect([...snapToGrid(Float32Array.of(0, 0.01, 0.02), 4)]).toEqual([0, 0.25, 0.5]);
    expect([...snapToGrid(Float32Array.of(0.98, 0.99, 1), 4)]).toEqual([0.5, 0.75, 1]);
  });

  test("the result is on the grid, strictly increasing, symmetric for symmetric levels far enough apart, and stays when snapped again", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 16 }), fc.integer({ min: 61, max: 200 }), (distinct, steps) => {
        const positive = distinct.sort((a, b) => a - b).map((k) => k / 60);
        const snapped = snapToGrid(Float32Array.from([...positive.map((x) => -x).reverse(), ...positive]), steps);
        const grid = [...snapped].map((level) => Math.round(level * steps));
        for (const [i, k] of grid.entries()) {
          expect(snapped[i]).toBe(Math.fround(k / steps));
          if (i > 0) expect(k).toBeGreaterThan(grid[i - 1]!);
          expect(k).toBe(-grid[grid.length - 1 - i]! || 0);
        }
        expect(snapToGrid(snapped, steps)).toEqual(snapped);
      }),
    );
  });

  test("NaN, no levels, and more levels than grid points are INVALID_ARGUMENT", () => {
    expect(() => snapToGrid(Float32Array.of(NaN))).toThrow(/finite/);
    expect(() => snapToGrid(new Float32Array(0))).toThrow(/levels/);
    expect(() => snapToGrid(Float32Array.of(-1, 0, 0.5, 1), 1)).toThrow(/at most 3/);
  });

  test("a grid has 1 to 32,767 steps and holds as many levels as it has points", () => {
    for (const steps of [0, 32_768, 1.5]) expect(() => snapToGrid(Float32Array.of(0), steps)).toThrow(/grid steps/);
    expect([...snapToGrid(Float32Array.of(1), 32_767)]).toEqual([1]);
    expect([...snapToGrid(Float32Array.of(0.1, 0.2, 0.3), 1)]).toEqual([-1, 0, 1]);
    expect(() => snapToGrid(new Float32Array(257), 127)).toThrow(/levels: expected an integer from 1 to 256/);
  });
});
