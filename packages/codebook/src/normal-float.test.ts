import { describe, expect, test } from "vitest";
import { normalFloat } from "./normal-float.js";

// QLoRA (Dettmers et al. 2023), appendix E.
const NF4 = [-1, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0, 0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1];

describe("normalFloat", () => {
  test("4 bits are the published NF4 to 3e-7", () => {
    const levels = normalFloat(4);
    expect(levels.length).toBe(16);
    for (const [i, level] of NF4.entries()) expect(Math.abs(levels[i]! - level), `level ${i}`).toBeLessThan(3e-7);
  });

  test("every width has -1, 0 and 1, one level more above 0 than below, strictly increasing", () => {
    for (const bits of [2, 3, 4, 5, 8] as const) {
      const levels = normalFloat(bits);
      const half = 2 ** (bits - 1);
      expect([levels.length, levels[0], levels[half - 1], levels.at(-1)]).toEqual([2 * half, -1, 0, 1]);
      for (let i = 1; i < levels.length; i++) expect(levels[i]!).toBeGreaterThan(levels[i - 1]!);
    }
  });

  test("1 bit, 9 bits and fractions are refused", () => {
    for (const bits of [1, 9, 2.5]) expect(() => normalFloat(bits as 2)).toThrow(/bits/);
  });
});
