import { expect, test } from "vitest";
import { choleskyLower, inverseFromCholesky } from "./cholesky.js";

// L L' of L = [[2, 0, 0], [6, 1, 0], [-8, 5, 3]], by hand; the inverse is a fraction of 36 throughout.
const MATRIX = Float64Array.of(4, 12, -16, 12, 37, -43, -16, -43, 98);
const LOWER = [2, 0, 0, 6, 1, 0, -8, 5, 3];

test("the lower factor is the one with a positive diagonal, and the upper triangle is not read", () => {
  expect([...choleskyLower(MATRIX, 3)!]).toEqual(LOWER);
  const half = MATRIX.slice();
  half[1] = half[2] = half[5] = NaN;
  expect([...choleskyLower(half, 3)!]).toEqual(LOWER);
  expect([...choleskyLower(Float64Array.of(9), 1)!]).toEqual([3]);
});

test("the inverse is symmetric and times the matrix the identity", () => {
  const inverse = inverseFromCholesky(choleskyLower(MATRIX, 3)!, 3);
  [1777 / 36, -122 / 9, 19 / 9, -122 / 9, 34 / 9, -5 / 9, 19 / 9, -5 / 9, 1 / 9].forEach((entry, index) => expect(inverse[index]).toBeCloseTo(entry, 12));
  for (let row = 0; row < 3; row++) for (let col = 0; col < row; col++) expect(inverse[row * 3 + col]).toBe(inverse[col * 3 + row]);
});

test.each([
  ["a zero", [0]],
  ["a negative number", [-1]],
  ["a NaN", [NaN]],
  ["an infinity", [Infinity]],
  ["an indefinite matrix", [1, 0, 2, 1]],
  ["a singular matrix", [1, 0, 1, 1]],
])("%s has no factor", (_, entries) => {
  expect(choleskyLower(Float64Array.from(entries), Math.sqrt(entries.length))).toBeUndefined();
});
