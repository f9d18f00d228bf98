import { describe, expect, test } from "vitest";
import { addUnusedLevels, checkLevelCount, checkLevels, roundLevels } from "./levels.js";

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

  test("of points equally far the lowest is taken: below all levels, then between them, then above", () => {
    const range = { minimum: -1, maximum: 1 };
    expect(addUnusedLevels([-0.5, 0.5], 3, range)).toEqual([-1, -0.5, 0.5]);
    expect(addUnusedLevels([-0.5, 0.5], 4, range)).toEqual([-1, -0.5, 0, 0.5]);
    expect(addUnusedLevels([-0.5, 0.5], 5, range)).toEqual([-1, -0.5, 0, 0.5, 1]);
    expect(addUnusedLevels([-1, -0.5, 0, 1], 5, range)).toEqual([-1, -0.5, 0, 0.5, 1]);
    expect(addUnusedLevels([0.25], 1, range)).toEqual([0.25]);
  });

  test("1 to 256 levels are a codebook; none, 257, and those that are not finite or do not rise are refused", () => {
    const rising = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => i);
    for (const count of [1, 2, 256]) expect(() => checkLevels(rising(count))).not.toThrow();
    for (const count of [0, 257]) expect(() => checkLevels(rising(count))).toThrow(/expected 1 to 256 levels/);
    expect(() => checkLevels(Float32Array.of(1, 1))).toThrow(/levels\[1\]: expected above level 1, got 1/);
    expect(() => checkLevels(Float32Array.of(0, 2, 1))).toThrow(/levels\[2\]/);
    for (const bad of [NaN, Infinity, -Infinity]) expect(() => checkLevels(Float32Array.of(bad))).toThrow(/finite/);
    for (const count of [1, 256]) expect(() => checkLevelCount(count)).not.toThrow();
    for (const count of [0, 257, 1.5, NaN]) expect(() => checkLevelCount(count)).toThrow(/levels: expected an integer from 1 to 256/);
  });
});
