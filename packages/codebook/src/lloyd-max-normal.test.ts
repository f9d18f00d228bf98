import { describe, expect, test } from "vitest";
import { lloydMaxNormal, positiveLloydMaxLevels } from "./lloyd-max-normal.js";

// Max 1960, "Quantizing for minimum distortion", table I: positive output levels for N = 2, 4, 8, 16, 32.
const TABLE = {
  1: [0.798],
  2: [0.4528, 1.51],
  3: [0.2451, 0.756, 1.344, 2.152],
  4: [0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733],
  5: [0.0659, 0.1981, 0.3314, 0.4668, 0.605, 0.7473, 0.8947, 1.049, 1.212, 1.387, 1.577, 1.788, 2.029, 2.319, 2.692, 3.263],
} as const;

/** Integral by Simpson's rule, 20,000 intervals. */
function integrate(f: (x: number) => number, from: number, to: number): number {
  const steps = 20_000;
  const width = (to - from) / steps;
  let sum = f(from) + f(to);
  for (let i = 1; i < steps; i++) sum += (i % 2 === 1 ? 4 : 2) * f(from + i * width);
  return (sum * width) / 3;
}

describe("lloydMaxNormal", () => {
  test.each([1, 2, 3, 4, 5] as const)("%i bits agree with Max's table", (bits) => {
    const levels = lloydMaxNormal(bits);
    const table = TABLE[bits];
    expect(levels.length).toBe(2 * table.length);
    for (const [i, level] of table.entries()) {
      // The table has four digits, and drifts by up to two units of the last in the outer levels of 32.
      expect(Math.abs(levels[table.length + i]! - level), `level ${i}`).toBeLessThan(bits === 5 ? 2.5e-3 : 6e-4);
      expect(levels[table.length - 1 - i]).toBe(-levels[table.length + i]!);
    }
  });

  test("1 bit is the mean of the half-normal distribution, and 2 bits have their known digits", () => {
    expect(positiveLloydMaxLevels(1)[0]).toBeCloseTo(Math.sqrt(2 / Math.PI), 14);
    expect(positiveLloydMaxLevels(2)[0]).toBeCloseTo(0.4528, 4);
    expect(positiveLloydMaxLevels(2)[1]).toBeCloseTo(1.5104, 4);
  });

  test.each([1, 2, 3, 4, 5, 8] as const)("%i bits: every level is the mean of its cell to 1e-10 by numerical integration", (bits) => {
    const levels = positiveLloydMaxLevels(bits);
    for (const i of new Set([0, 1, levels.length >> 1, levels.length - 2, levels.length - 1])) {
      if (levels[i] === undefined) continue;
      const low = i === 0 ? 0 : (levels[i - 1]! + levels[i]!) / 2;
      const high = i === levels.length - 1 ? 14 : (levels[i]! + levels[i + 1]!) / 2;
      // Moments about the level itself: 0 at the mean.
      const mass = integrate((x) => Math.exp(-0.5 * x * x), low, high);
      const moment = integrate((x) => (x - levels[i]!) * Math.exp(-0.5 * x * x), low, high);
      expect(Math.abs(moment / mass), `level ${i}`).toBeLessThan(1e-10);
    }
  });

  test("other widths are refused", () => {
    for (const bits of [0, 9, 2.5]) expect(() => lloydMaxNormal(bits as 8)).toThrow(/bits/);
  });
});
