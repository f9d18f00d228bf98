import { describe, expect, test } from "vitest";
import { normalDensity, normalQuantile, normalUpperTail } from "./normal-distribution.js";

describe("the normal distribution", () => {
  test("upper tails equal high-precision values to 1e-12 relative", () => {
    // erfc(x / sqrt 2) / 2 by mpmath with 30 digits.
    const table = [
      [0, 0.5],
      [0.5, 0.3085375387259869],
      [1, 0.15865525393145705],
      [2, 0.0227501319481792],
      [3, 0.0013498980316300946],
      [4, 3.167124183311992e-5],
      [5, 2.866515718791939e-7],
      [6, 9.865876450376981e-10],
    ] as const;
    for (const [x, tail] of table) expect(Math.abs(normalUpperTail(x) / tail - 1), `x = ${x}`).toBeLessThan(1e-12);
  });

  test("the tail is continuous where the formula changes and its slope is minus the density", () => {
    for (const x of [0.3, 1, 2.5, 2.9999, 3, 3.0001, 4.5]) {
      const slope = (normalUpperTail(x + 1e-5) - normalUpperTail(x - 1e-5 > 0 ? x - 1e-5 : 0)) / 2e-5;
      expect(Math.abs(slope + normalDensity(x))).toBeLessThan(1e-9);
    }
  });

  test("the quantile inverts it, and is odd about one half", () => {
    for (const p of [0.5, 0.500001, 0.6, 0.75, 0.9, 0.975, 0.999, 0.999999]) {
      expect(Math.abs(normalUpperTail(normalQuantile(p)) - (1 - p))).toBeLessThan(1e-15);
      expect(normalQuantile(1 - p)).toBeCloseTo(-normalQuantile(p), 9);
    }
    expect(normalQuantile(0.975)).toBeCloseTo(1.959963984540054, 13);
    expect(normalQuantile(0.5)).toBe(0);
  });
});
