import fc from "fast-check";
import { expect, test } from "vitest";
import { applyHadamard, hadamardBlock } from "./hadamard.js";

test("the block is the largest power of two that divides the head dim", () => {
  expect([1, 2, 3, 24, 64, 80, 96, 128].map(hadamardBlock)).toEqual([1, 2, 1, 8, 64, 16, 32, 128]);
  for (const headDim of [0, -4, 1.5]) expect(() => hadamardBlock(headDim)).toThrow(/headDim/);
});

test("column j of the matrix has the signs (-1)^popcount(i & j), times fp32(1 / sqrt(block))", () => {
  const gain = Math.fround(1 / Math.sqrt(8));
  const parity = (bits: number): number => (bits === 0 ? 0 : (bits & 1) ^ parity(bits >> 1));
  for (let column = 0; column < 8; column++) {
    const unit = new Float32Array(16);
    unit[8 + column] = 1;
    expect([...applyHadamard(unit, 8)]).toEqual([...Array<number>(8).fill(0), ...Array.from({ length: 8 }, (_, row) => (parity(row & column) === 1 ? -gain : gain))]);
  }
});

test("sums are rounded to fp32 after every butterfly, neighbours first", () => {
  // 2^24 + 1 is 2^24 in fp32: neighbours lose a one that numbers two apart would keep (1 and -1 in place of the halves).
  const big = 2 ** 24;
  expect([...applyHadamard(Float32Array.of(big, 1, -big, 1), 4)]).toEqual([0.5, -0.5, big, big]);
});

test("it is its own inverse, and a block of 1 leaves everything as it is", () => {
  fc.assert(
    fc.property(fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 64, maxLength: 64 }), fc.constantFrom(1, 2, 16, 64), (numbers, block) => {
      const twice = applyHadamard(applyHadamard(Float32Array.from(numbers), block), block);
      for (const [index, number] of numbers.entries()) expect(Math.abs(twice[index]! - number)).toBeLessThanOrEqual(block === 1 ? 0 : 1e-4);
    }),
  );
});

test("blocks that are no power of two, or do not divide the numbers, are refused", () => {
  for (const block of [0, 3, 6, 2.5]) expect(() => applyHadamard(new Float32Array(12), block)).toThrow(/applyHadamard: block/);
  expect(() => applyHadamard(new Float32Array(12), 8)).toThrow(/x: expected a multiple of 8 numbers, got 12/);
});
