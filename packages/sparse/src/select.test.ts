import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { selectOutside } from "./select-outside.js";
import { selectTopK } from "./select-top-k.js";

const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error;

/** All indices sorted by falling key, ties by rising index; the first k, ascending. */
function largestBySorting(keys: number[], k: number): number[] {
  const order = keys.map((_, index) => index).sort((a, b) => (keys[a] === keys[b] ? a - b : keys[b]! > keys[a]! ? 1 : -1));
  return order.slice(0, k).sort((a, b) => a - b);
}

/** Few distinct values make ties common. */
const values = fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.float({ noNaN: true }), fc.constant(-0)), { maxLength: 60 }).map((list) => Float32Array.from(list));

describe("selectTopK", () => {
  it("equals sorting by magnitude with ties to the lower index", () => {
    fc.assert(
      fc.property(values, fc.nat(70), (list, k) => {
        expect([...selectTopK(list, k)]).toEqual(largestBySorting([...list].map(Math.abs), k));
      }),
      { numRuns: 500 },
    );
  });

  it("equals sorting on thousands of values, whatever their order", () => {
    const random = Float32Array.from({ length: 4099 }, (_, i) => Math.fround(Math.sin(i * i * 0.7) * Math.tan(i)));
    const rising = random.slice().sort((a, b) => Math.abs(a) - Math.abs(b));
    for (const list of [random, rising, rising.slice().reverse(), new Float32Array(4099).fill(-2)]) {
      for (const k of [0, 1, 41, 2000, 4098, 4099, 5000]) {
        expect([...selectTopK(list, k)]).toEqual(largestBySorting([...list].map(Math.abs), k));
      }
    }
  });

  it("takes the first ones when all are equal, and treats -0 as 0 and infinity as largest", () => {
    expect([...selectTopK(new Float32Array(9), 4)]).toEqual([0, 1, 2, 3]);
    expect([...selectTopK(Float32Array.of(-0, 0, -0), 1)]).toEqual([0]);
    expect([...selectTopK(Float32Array.of(1, Infinity, 2, -Infinity, 3), 2)]).toEqual([1, 3]);
  });

  it("searches a subarray and writes into given memory", () => {
    const list = Float32Array.of(100, 1, -3, 2, 100);
    const out = new Uint32Array(5).fill(77);
    const found = selectTopK(list.subarray(1, 4), 2, out);
    expect([...found]).toEqual([1, 2]);
    expect(found.buffer).toBe(out.buffer);
    expect([...out]).toEqual([1, 2, 77, 77, 77]);
    const exact = new Uint32Array(2);
    expect(selectTopK(list, 2, exact)).toBe(exact);
  });

  it("refuses NaN anywhere, a k that is no count and memory that is too short", () => {
    for (const k of [0, 1, 2, 3, 4]) {
      for (const at of [0, 1, 2]) {
        const list = Float32Array.of(1, 2, 3);
        list[at] = NaN;
        expect(() => selectTopK(list, k)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT", message: `selectTopK: expected numbers, got NaN at index ${at}` }) as Error);
      }
    }
    for (const k of [-1, 1.5, NaN, Infinity]) expect(() => selectTopK(new Float32Array(3), k)).toThrowError(invalid);
    expect(() => selectTopK(new Float32Array(3), 2, new Uint32Array(1))).toThrowError(invalid);
  });
});

describe("selectOutside", () => {
  it("equals sorting by excess with ties to the lower index, and counts what found no slot", () => {
    fc.assert(
      fc.property(values, fc.float({ min: -4, max: 4, noNaN: true }), fc.float({ min: 0, max: 4, noNaN: true }), fc.nat(20), (list, low, width, capacity) => {
        const high = low + width;
        const excess = [...list].map((x) => Math.max(low - x, x - high));
        const outside = excess.filter((e) => e > 0).length;
        const { indices, saturated } = selectOutside(list, low, high, capacity);
        const expected = largestBySorting(excess, Math.min(capacity, outside));
        expect([...indices]).toEqual(expected);
        expect(saturated).toBe(outside - expected.length);
      }),
      { numRuns: 500 },
    );
  });

  it("keeps the largest magnitudes beyond -1 and 1, and nothing on the bounds", () => {
    const list = Float32Array.of(1.5, -1, 1, -3, 0, 1.5, 2);
    expect(selectOutside(list, -1, 1)).toEqual({ indices: Uint32Array.of(0, 3, 5, 6), saturated: 0 });
    expect(selectOutside(list, -1, 1, 3)).toEqual({ indices: Uint32Array.of(0, 3, 6), saturated: 1 });
    expect(selectOutside(list, -1, 1, 0)).toEqual({ indices: new Uint32Array(0), saturated: 4 });
    expect(selectOutside(list, -Infinity, 1.6, 15)).toEqual({ indices: Uint32Array.of(6), saturated: 0 });
    expect(selectOutside(new Float32Array(0), -1, 1, 15)).toEqual({ indices: new Uint32Array(0), saturated: 0 });
  });

  it("takes the first ones when all are equal", () => {
    expect(selectOutside(new Float32Array(20).fill(-7), -1, 1, 15)).toEqual({ indices: Uint32Array.from({ length: 15 }, (_, i) => i), saturated: 5 });
  });

  it("writes into given memory", () => {
    const out = new Uint32Array(3).fill(77);
    const { indices } = selectOutside(Float32Array.of(0, 5, 0, 6), -1, 1, 3, out);
    expect(indices.buffer).toBe(out.buffer);
    expect([...out]).toEqual([1, 3, 77]);
  });

  it("refuses NaN, bounds that cross and capacities that are no count", () => {
    expect(() => selectOutside(Float32Array.of(0, NaN), -1, 1, 0)).toThrowError("expected numbers, got NaN at index 1");
    for (const [low, high] of [[1, -1], [NaN, 1], [-1, NaN]] as const) expect(() => selectOutside(new Float32Array(1), low, high, 1)).toThrowError(invalid);
    for (const capacity of [-1, 0.5, NaN]) expect(() => selectOutside(new Float32Array(1), -1, 1, capacity)).toThrowError(invalid);
    expect(() => selectOutside(new Float32Array(9), -1, 1, 15, new Uint32Array(8))).toThrowError(invalid);
  });
});
