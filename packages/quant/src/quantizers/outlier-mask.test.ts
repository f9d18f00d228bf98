import fc from "fast-check";
import { expect, test } from "vitest";
import { makeMatrix } from "../testing/index.js";
import { addOutliers, collectOutliers, limitOutliers } from "./outlier-mask.js";

const ROWS = 20;
/** Row r has code 7 r mod 20. */
const codeOfRow = Uint16Array.from({ length: ROWS }, (_, row) => (7 * row) % ROWS);
const rowOfCode = new Uint16Array(ROWS);
codeOfRow.forEach((code, row) => (rowOfCode[code] = row));

function marks(rows: readonly number[], token: number): Uint8Array {
  const mask = new Uint8Array(ROWS * 64);
  for (const row of rows) mask[row * 64 + token] = 1;
  return mask;
}

test("15 marks of a token stay, of more the 15 largest do, ties going to the lower code", () => {
  const rows = fc.shuffledSubarray(Array.from({ length: ROWS }, (_, row) => row), { minLength: 13 });
  fc.assert(
    fc.property(rows, fc.array(fc.integer({ min: 0, max: 3 }), { minLength: ROWS, maxLength: ROWS }), fc.nat(63), (marked, sizes, token) => {
      const mask = marks(marked, token);
      const kept = [...marked].sort((a, b) => sizes[b]! - sizes[a]! || codeOfRow[a]! - codeOfRow[b]!).slice(0, 15);
      expect(limitOutliers(mask, 64, codeOfRow, (row) => sizes[row]!)).toBe(Math.max(0, marked.length - 15));
      expect(Buffer.from(mask).equals(marks(kept, token))).toBe(true);
    }),
  );
});

test("tokens have slots of their own, and those not held are not looked at", () => {
  const all = Array.from({ length: ROWS }, (_, row) => row);
  const mask = marks(all, 0);
  for (const row of all) mask[row * 64 + 1] = mask[row * 64 + 2] = 1;
  expect(limitOutliers(mask, 2, codeOfRow, (row, token) => (token === 0 ? row : -row))).toBe(10);
  const kept = (token: number): number[] => all.filter((row) => mask[row * 64 + token] === 1);
  expect([kept(0), kept(1), kept(2)]).toEqual([all.slice(5), all.slice(0, 15), all]);
});

test("entries come token by token with ascending codes, and add to the channels of those codes in the head's columns", () => {
  const mask = marks([3, 0, 19], 5);
  mask[4 * 64 + 2] = 1;
  mask[9 * 64 + 40] = 1; // of a token that is not held
  const deltas = Float32Array.from(mask, (_, index) => index);
  const entries = collectOutliers(mask, deltas, 6, rowOfCode);
  const [first, ...others] = [[4, 2], ...[3, 0, 19].sort((a, b) => codeOfRow[a]! - codeOfRow[b]!).map((row) => [row, 5])] as [number, number][];
  expect(entries.tokens).toBe(6);
  expect([...entries.counts].flatMap((count, token) => (count > 0 ? [[token, count]] : []))).toEqual([[2, 1], [5, 3]]);
  expect([...entries.indices]).toEqual([first!, ...others].map(([row]) => codeOfRow[row!]));
  expect([...entries.deltas]).toEqual([first!, ...others].map(([row, token]) => row! * 64 + token!));
  const out = makeMatrix(6, 2 * ROWS, () => 1);
  addOutliers(entries, out, ROWS, rowOfCode);
  const changed = [...out.data].flatMap((value, index) => (value === 1 ? [] : [[index, value]]));
  expect(changed).toEqual([4, 0, 3, 19].map((row, index) => [(index === 0 ? 2 : 5) * 2 * ROWS + ROWS + row, 1 + row * 64 + (index === 0 ? 2 : 5)]));
  addOutliers(undefined, out, 0, rowOfCode);
  expect(out.data.filter((value) => value !== 1)).toHaveLength(4);
});
