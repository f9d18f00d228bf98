import fc from "fast-check";
import { expect, test } from "vitest";
import { meanInOrder, selectLargestDeviations } from "./largest-deviations.js";

function select(x: readonly number[], count: number, center = 0, [start, length] = [0, x.length] as readonly [number, number]): number[] {
  const out = new Uint32Array(count + 1).fill(999);
  selectLargestDeviations(Float32Array.from(x), { start, length, center }, out, new Float32Array(count), count);
  expect(out[count]).toBe(999);
  return [...out.subarray(0, count)];
}

test("the indices are those a stable sort by fp32 deviation gives", () => {
  const numbers = fc.array(fc.integer({ min: -6, max: 6 }).map((k) => k / 4), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(numbers, fc.nat(30), fc.constantFrom(0, 0.25, -1), (x, most, center) => {
      const count = Math.min(most, x.length);
      const deviation = (index: number): number => Math.abs(x[index]! - center);
      const sorted = x.map((_, index) => index).sort((a, b) => deviation(b) - deviation(a) || a - b);
      expect(select(x, count, center)).toEqual(sorted.slice(0, count));
    }),
  );
});

test("the selection of fewer is a prefix of the selection of more, indices count from the start of the range", () => {
  const x = [50, 1, -3, 3, 2, -50];
  expect([1, 2, 3, 4].map((count) => select(x, count, 0, [1, 4]))).toEqual([[1], [1, 2], [1, 2, 3], [1, 2, 3, 0]]);
});

test("deviations are rounded to fp32 before they are compared", () => {
  // 1 + 2^-30 is 1 in fp32, level with 1: the lower index wins.
  expect(select([0, -(2 ** -30)], 1, 1)).toEqual([0]);
});

test("the mean is an fp32 sum in order and one fp32 division", () => {
  expect(meanInOrder(Float32Array.of(2 ** 24, 1, -(2 ** 24)), 0, 3)).toBe(0);
  expect(meanInOrder(Float32Array.of(2 ** 24, -(2 ** 24), 1), 0, 3)).toBe(Math.fround(1 / 3));
  expect(meanInOrder(Float32Array.of(9, 1, 2, 9), 1, 2)).toBe(1.5);
});
