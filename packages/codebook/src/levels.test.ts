import { describe, expect, test } from "vitest";
import { addUnusedLevels, roundLevels } from "./levels.js";

describe("level rules", () => {
  test("levels that meet in fp32 are moved apart by single ulps, through zero too", () => {
    expect([...roundLevels([1, 1 + 1e-12, 1 + 2e-12])]).toEqual([1, 1 + 2 ** -23, 1 + 2 ** -22]);
    expect([...roundLevels([-1, -1 + 1e-12])]).toEqual([-1, -1 + 2 ** -24]);
    const aroundZero = roundLevels([-1e-60, 0, 1e-60]);
    for (let i = 1; i < 3; i++) expect(aroundZero[i]!).toBeGreaterThan(aroundZero[i - 1]!);
  });

  test("each unused level goes to the point of the range farthest from the rest, the lowest of several", () => {
    const range = { minimum: -1, maximum: 1 };
    expect(addUnusedLevels([0], 2, range)).toEqual([-1, 0]);
    expect(addUnusedLevels([0], 5, range)).toEqual([-1, -0.5, 0, 0.5, 1]);
    expect(addUnusedLevels([-0.9, 0.2], 3, range)).toEqual([-0.9, 0.2, 1]);
    expect(addUnusedLevels([-0.9, 0.7], 3, range)).toEqual([-0.9, expect.closeTo(-0.1, 12), 0.7]);
  });
});
