import { expect, test } from "vitest";
import { powerOfExponent, roundedExponent } from "./page-scale.js";

const every = Array.from({ length: 256 }, (_, index) => index - 192);

/** The fp32 number `steps` after a positive one. */
function neighbour(x: number, steps: number): number {
  const float = Float32Array.of(x);
  new Int32Array(float.buffer)[0]! += steps;
  return float[0]!;
}

test("powers are the rounded sixteenths of a power of two, scaled exactly", () => {
  for (const e of every) expect(powerOfExponent(e)).toBe(Math.fround(2 ** (e / 16 - Math.floor(e / 16))) * 2 ** Math.floor(e / 16));
  expect([-192, -16, 0, 16, 48].map(powerOfExponent)).toEqual([2 ** -12, 0.5, 1, 2, 8]);
  expect(powerOfExponent(63)).toBeCloseTo(2 ** (63 / 16), 6);
});

test("the rounded exponent of every power is its own, and changes between the fp32 numbers on both sides of each boundary", () => {
  for (const e of every) {
    expect(roundedExponent(powerOfExponent(e))).toBe(e);
    const boundary = Math.fround(2 ** ((e + 0.5) / 16));
    // Boundaries are irrational, and the logarithm in float64 tells neighbours apart.
    for (const steps of [-2, -1, 0, 1, 2]) expect(roundedExponent(neighbour(boundary, steps))).toBe(Math.round(16 * Math.log2(neighbour(boundary, steps))) + 0);
    expect([roundedExponent(neighbour(boundary, -2)), roundedExponent(neighbour(boundary, 2))]).toEqual([e, e + 1]);
  }
});

test("ratios below all that a byte holds are -193, above all they are beyond 63, infinity is 64", () => {
  expect([0, -0, -1, Number.NaN, 1e-45, 2 ** -13].map(roundedExponent)).toEqual(Array(6).fill(-193));
  expect([roundedExponent(Infinity), roundedExponent(2 ** 4), roundedExponent(2 ** 100)]).toEqual([64, 64, 1600]);
});
