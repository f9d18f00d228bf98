import { describe, expect, test } from "vitest";
import { halfToInterleaved, interleavedToHalf } from "./channel-permutation.js";

describe("channel permutations", () => {
  test("half-split channels (j, j + d/2) come to lie side by side", () => {
    expect([...halfToInterleaved(8)]).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
    expect([...interleavedToHalf(8)]).toEqual([0, 2, 4, 6, 1, 3, 5, 7]);
  });

  test("channels past the rotary dim stay", () => {
    expect([...halfToInterleaved(8, 4)]).toEqual([0, 2, 1, 3, 4, 5, 6, 7]);
    expect([...interleavedToHalf(8, 4)]).toEqual([0, 2, 1, 3, 4, 5, 6, 7]);
  });

  test("one undoes the other for every size", () => {
    for (const [headDim, rotaryDim] of [[2, 2], [64, 64], [80, 32], [128, 96]] as const) {
      const there = halfToInterleaved(headDim, rotaryDim);
      const back = interleavedToHalf(headDim, rotaryDim);
      for (let i = 0; i < headDim; i++) expect(there[back[i]!]).toBe(i);
    }
  });

  test("an odd rotary dim, none, one beyond the head dim, and a head dim of 1 are refused; of 2 there is one pair", () => {
    for (const permute of [halfToInterleaved, interleavedToHalf]) {
      for (const rotaryDim of [3, 0, 10]) expect(() => permute(8, rotaryDim)).toThrow(/rotaryDim/);
      expect(() => permute(1)).toThrow(/headDim/);
      expect([...permute(2)]).toEqual([0, 1]);
    }
  });
});
