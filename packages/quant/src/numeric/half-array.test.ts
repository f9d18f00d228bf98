import { expect, test } from "vitest";
import { finiteHalf, finiteHalfBits, readHalfBits, roundToHalves, writeHalfBits } from "./half-array.js";
import { loadHalf, storeHalf } from "./half-numbers.js";

test("numbers beyond the largest half saturate there, on both sides", () => {
  expect([65504, 65519, 65520, 1e38, Infinity].map(finiteHalf)).toEqual([65504, 65504, 65504, 65504, 65504]);
  expect([-65504, -65519, -65520, -1e38, -Infinity].map(finiteHalf)).toEqual([-65504, -65504, -65504, -65504, -65504]);
  expect([finiteHalfBits(1e38), finiteHalfBits(-1e38)]).toEqual([0x7bff, 0xfbff]);
  expect(() => finiteHalfBits(NaN)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
});

test("others round to the nearest half, ties to even, down to the subnormal ones", () => {
  // Halves are 2^-10 apart from 1 to 2.
  expect([1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -20, 2 ** -24, 2 ** -25, -0].map(finiteHalf)).toEqual([1, 1 + 2 ** -9, 1 + 2 ** -10, 2 ** -24, 0, -0]);
  const numbers = Float32Array.of(65520, 1 + 2 ** -11, -0.1);
  expect(roundToHalves(numbers)).toBe(numbers);
  expect([...numbers]).toEqual([65504, 1, -0.0999755859375]);
});

test("bytes are little-endian, at the place asked for and nowhere else", () => {
  const bytes = new Uint8Array(5).fill(0xee);
  writeHalfBits(bytes, 1, 0x3c12);
  expect([...bytes]).toEqual([0xee, 0x12, 0x3c, 0xee, 0xee]);
  expect(readHalfBits(bytes, 1)).toBe(0x3c12);
  expect(storeHalf(bytes, 2, 1 + 2 ** -11)).toBe(1);
  expect([...bytes]).toEqual([0xee, 0x12, 0x00, 0x3c, 0xee]);
  expect(loadHalf(bytes, 2)).toBe(1);
});

test.each([["infinity", 0x7c00], ["minus infinity", 0xfc00], ["NaN", 0x7e01]])("a stored half of %s is CORRUPT_DATA", (_, bits) => {
  const bytes = new Uint8Array(4);
  writeHalfBits(bytes, 2, bits);
  expect(() => loadHalf(bytes, 2)).toThrow(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringMatching(/number at byte 2: expected a finite half/) }));
});
