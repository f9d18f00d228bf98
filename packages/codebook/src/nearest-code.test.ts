import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeNearest, midpoints, nearestCode } from "./nearest-code.js";

const randomLevels = fc
  .uniqueArray(fc.float({ min: -2, max: 2, noNaN: true }).map((x) => x + 0), { minLength: 1, maxLength: 64 })
  .map((levels) => Float32Array.from(levels).sort());
const randomValue = fc.oneof(fc.float({ min: -3, max: 3 }), fc.constantFrom(Infinity, -Infinity, -0, NaN, 1e-45));

/** Number of levels whose midpoint with the next is below x, straight from the definition. */
function definition(levels: Float32Array, x: number): number {
  return [...levels].slice(1).filter((level, i) => Math.fround((levels[i]! + level) / 2) < x).length;
}

describe("nearest-level search", () => {
  test("codes count the midpoints below the value, for any number of levels and any value", () => {
    fc.assert(
      fc.property(randomLevels, fc.array(randomValue), (levels, values) => {
        const middles = midpoints(levels);
        for (const x of values) expect(nearestCode(middles, x)).toBe(definition(levels, x));
      }),
    );
  });

  test("encodeNearest gives the codes of nearestCode in its range and touches nothing else, for 1 to 70 and 256 levels", () => {
    const values = Float32Array.from({ length: 300 }, (_, i) => Math.sin(i * 7) * 1.2);
    values.set([NaN, Infinity, -Infinity, -0]);
    for (const count of [...Array.from({ length: 70 }, (_, i) => i + 1), 256]) {
      const levels = Float32Array.from({ length: count }, (_, i) => Math.sinh((i / count) * 4 - 2) / 4);
      const middles = midpoints(levels);
      values.set(middles.subarray(0, 100), 100);
      for (const [start, length] of [[0, 300], [1, 13], [299, 1], [300, 0]] as const) {
        const out = new Uint8Array(302).fill(255);
        encodeNearest(middles, values, start, length, out);
        for (let i = 0; i < length; i++) if (out[i] !== nearestCode(middles, values[start + i]!)) expect.fail(`${count} levels, value ${values[start + i]!}`);
        expect(out.subarray(length).every((code) => code === 255)).toBe(true);
      }
    }
  });

  test("the code is the nearest level; on a midpoint the lower one", () => {
    const levels = Float32Array.of(-1, 0, 0.5, 2);
    const middles = midpoints(levels);
    expect([...middles]).toEqual([-0.5, 0.25, 1.25]);
    expect([-9, -0.6, -0.5, -0.4, 0.25, 0.26, 1.25, 1.3, 9].map((x) => nearestCode(middles, x))).toEqual([0, 0, 0, 1, 1, 2, 2, 3, 3]);
  });

  test("infinities take the end levels and NaN code 0", () => {
    for (const count of [2, 4, 16, 17, 256]) {
      const middles = midpoints(Float32Array.from({ length: count }, (_, i) => i));
      expect([-Infinity, Infinity, NaN].map((x) => nearestCode(middles, x))).toEqual([0, count - 1, 0]);
    }
  });

  test("one level has no midpoints and only code 0", () => {
    expect(midpoints(Float32Array.of(3)).length).toBe(0);
    expect(nearestCode(new Float32Array(0), 5)).toBe(0);
  });

  test("midpoints are rounded to fp32", () => {
    const [a, b] = [Math.fround(0.1), Math.fround(0.7)];
    expect(midpoints(Float32Array.of(a, b))[0]).toBe(Math.fround((a + b) / 2));
  });

  test("ranges outside the values and outputs too short are refused", () => {
    const middles = Float32Array.of(0);
    expect(() => encodeNearest(middles, new Float32Array(4), 2, 3, new Uint8Array(9))).toThrow(/count/);
    expect(() => encodeNearest(middles, new Float32Array(4), 5, 0, new Uint8Array(9))).toThrow(/start/);
    expect(() => encodeNearest(middles, new Float32Array(4), 0, 4, new Uint8Array(3))).toThrow(/out: expected at least 4 codes, got 3/);
    expect(() => encodeNearest(new Float32Array(256), new Float32Array(1), 0, 1, new Uint8Array(1))).toThrow(/midpoints/);
  });
});
