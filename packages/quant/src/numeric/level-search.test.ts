import { midpoints as midpointsOf, nearestCode } from "@kvquant/codebook";
import fc from "fast-check";
import { expect, test } from "vitest";
import { findCodes, prepareSearch } from "./level-search.js";

function codesOf(midpoints: Float32Array, values: Float32Array): number[] {
  const codes = new Uint8Array(values.length);
  findCodes(prepareSearch(midpoints), values, 0, values.length, codes);
  return [...codes];
}

const below = (midpoints: Float32Array, x: number): number => midpoints.filter((midpoint) => midpoint < x).length;

test("codes count the midpoints below the value: on cell edges, on midpoints, beside them, beyond [-1, 1] and for infinities", () => {
  const number = fc.oneof(fc.integer({ min: -300, max: 300 }).map((k) => k / 256), fc.integer({ min: -130, max: 130 }).map((k) => Math.fround(k / 127)), fc.float({ min: -2, max: 2, noNaN: true }));
  fc.assert(
    fc.property(fc.array(number, { maxLength: 40 }), fc.array(number, { minLength: 1, maxLength: 20 }), (edges, some) => {
      const midpoints = Float32Array.from(edges).sort();
      const values = Float32Array.from([...some, ...edges, ...edges.map((edge) => edge + 2 ** -20), ...edges.map((edge) => edge - 2 ** -20), -1, 1, -Infinity, Infinity]);
      expect(codesOf(midpoints, values)).toEqual(Array.from(values, (x) => below(midpoints, x)));
    }),
    { numRuns: 300 },
  );
});

test("it agrees with the search of @kvquant/codebook for all grid levels, 255 midpoints and NaN", () => {
  const midpoints = midpointsOf(Float32Array.from({ length: 256 }, (_, k) => (k - 128) / 127));
  const values = Float32Array.from({ length: 4001 }, (_, k) => (k - 2000) / 1900);
  values.set([NaN, -0, ...midpoints], 5);
  expect(codesOf(midpoints, values)).toEqual(Array.from(values, (x) => nearestCode(midpoints, x)));
});

test("only the range asked for is read and written", () => {
  const codes = new Uint8Array(4).fill(77);
  findCodes(prepareSearch(Float32Array.of(0)), Float32Array.of(-1, 1, -1, 1), 1, 2, codes);
  expect([...codes]).toEqual([1, 0, 77, 77]);
});

test("level midpoints are taken, descending or NaN ones are CORRUPT_DATA", () => {
  expect(codesOf(Float32Array.of(0.5, 0.5, 0.5), Float32Array.of(0.5, 0.6))).toEqual([0, 3]);
  for (const midpoints of [[0.5, 0.4], [0, NaN], [NaN, 0]]) expect(() => prepareSearch(Float32Array.from(midpoints))).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
});
