import { describe, expect, test } from "vitest";
import { uniformLevels, uniformOnGrid } from "./uniform-levels.js";

describe("uniform levels", () => {
  test("2^bits levels run evenly from -1 to 1", () => {
    expect([...uniformLevels(1)]).toEqual([-1, 1]);
    expect([...uniformLevels(2)]).toEqual([-1, -1 / 3, 1 / 3, 1].map(Math.fround));
    for (const bits of [3, 4, 5, 8] as const) {
      const levels = uniformLevels(bits);
      expect([levels.length, levels[0], levels.at(-1)]).toEqual([2 ** bits, -1, 1]);
      for (let i = 1; i < levels.length; i++) expect(levels[i]! - levels[i - 1]!).toBeCloseTo(2 / (2 ** bits - 1), 6);
    }
  });

  test("on the grid they are the nearest of k/127", () => {
    expect([...uniformOnGrid(2)].map((level) => Math.round(level * 127))).toEqual([-127, -42, 42, 127]);
    expect([...uniformOnGrid(3)].map((level) => Math.round(level * 127))).toEqual([-127, -91, -54, -18, 18, 54, 91, 127]);
    expect([...uniformOnGrid(4)].map((level) => Math.round(level * 127))).toEqual([-127, -110, -93, -76, -59, -42, -25, -8, 8, 25, 42, 59, 76, 93, 110, 127]);
    expect(uniformOnGrid(5).length).toBe(32);
  });

  test("8 bits do not fit on 127 steps but do on 128", () => {
    expect(() => uniformOnGrid(8)).toThrow(/at most 255/);
    expect(uniformOnGrid(8, 128).length).toBe(256);
  });

  test("other widths are refused", () => {
    for (const bits of [0, 9, 1.5]) expect(() => uniformLevels(bits as 8)).toThrow(/bits/);
  });
});
