import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exponentiate } from "./exponentiate.js";
import { klDivergence } from "./kl-divergence.js";
import { compareRow, createReferenceBlock } from "./reference-block.js";

const logSoftmax = (logits: readonly number[]): Float32Array => {
  const top = Math.max(...logits);
  const sum = Math.log(logits.reduce((total, value) => total + Math.exp(value - top), 0)) + top;
  return Float32Array.from(logits, (value) => value - sum);
};
const logits = (length: number) => fc.array(fc.double({ min: -30, max: 30, noNaN: true }), { minLength: length, maxLength: length });

describe("klDivergence", () => {
  it("gives the closed form of two coins", () => {
    const expected = 0.25 * Math.log(0.25 / 0.5) + 0.75 * Math.log(0.75 / 0.5);
    expect(klDivergence(Float32Array.of(Math.log(0.25), Math.log(0.75)), Float32Array.of(Math.log(0.5), Math.log(0.5)))).toBeCloseTo(expected, 7);
  });

  it("gives the closed form of two geometric distributions", () => {
    const geometric = (p: number): Float32Array => Float32Array.from({ length: 2000 }, (_, k) => k * Math.log(1 - p) + Math.log(p));
    const expected = Math.log(0.3 / 0.2) + ((1 - 0.3) / 0.3) * Math.log(0.7 / 0.8);
    expect(klDivergence(geometric(0.3), geometric(0.2))).toBeCloseTo(expected, 6);
  });

  it("is zero for equal distributions and never clearly negative", () => {
    fc.assert(
      fc.property(logits(7), logits(7), (a, b) => {
        const p = logSoftmax(a);
        expect(klDivergence(p, p)).toBe(0);
        expect(klDivergence(p, logSoftmax(b))).toBeGreaterThan(-1e-5);
      }),
    );
  });

  it("leaves out what P rules out and is infinite when Q rules out what P does not", () => {
    const certain = Float32Array.of(0, -Infinity);
    const even = Float32Array.of(Math.log(0.5), Math.log(0.5));
    expect(klDivergence(certain, even)).toBeCloseTo(Math.log(2), 7);
    expect(klDivergence(certain, certain)).toBe(0);
    expect(klDivergence(even, certain)).toBe(Infinity);
  });

  it("reads only the range asked for", () => {
    const p = Float32Array.of(NaN, Math.log(0.25), Math.log(0.75), NaN);
    const q = Float32Array.of(NaN, Math.log(0.5), Math.log(0.5), NaN);
    expect(klDivergence(p, q, 1, 2)).toBe(klDivergence(p.slice(1, 3), q.slice(1, 3)));
    expect(() => klDivergence(p, q, 3, 2)).toThrow(RangeError);
  });
});

describe("exponentiate", () => {
  it("equals Math.exp rounded to float32, subnormals and zero included", () => {
    const source = Float32Array.from({ length: 200_000 }, (_, index) => -index / 1900);
    const target = new Float32Array(source.length).fill(NaN);
    exponentiate(source, target, 0, source.length);
    let worstSteps = 0;
    let worstRelative = 0;
    for (let index = 0; index < source.length; index++) {
      const exact = Math.exp(source[index]!);
      const step = Math.max(2 ** -149, 2 ** (Math.floor(Math.log2(exact)) - 23));
      worstSteps = Math.max(worstSteps, Math.abs(target[index]! - Math.fround(exact)) / step);
      if (exact > 1e-30) worstRelative = Math.max(worstRelative, Math.abs(target[index]! / exact - 1));
    }
    // One float32 step either way where the exact value lies on a rounding boundary.
    expect(worstSteps).toBeLessThanOrEqual(1);
    expect(worstRelative).toBeLessThan(6.1e-8);
  });

  it("handles the edges: 0, -0, tiny overshoot, -Infinity, NaN", () => {
    const source = Float32Array.of(0, -0, 1e-6, -Infinity, NaN, -104, -1e-9);
    const target = new Float32Array(source.length);
    exponentiate(source, target, 0, source.length);
    expect([...target]).toEqual([1, 1, Math.fround(Math.exp(Math.fround(1e-6))), 0, NaN, 0, 1]);
  });
});

describe("compareRow", () => {
  it("agrees with brute force in float64 for every row and vocabulary size", () => {
    const rows = 3;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 11 }).chain((size) => fc.tuple(...Array.from({ length: 2 * rows }, () => logits(size)))), (all) => {
        const size = all[0]!.length;
        const p = new Float32Array(rows * size);
        const q = new Float32Array(rows * size);
        for (let row = 0; row < rows; row++) {
          p.set(logSoftmax(all[row]!), row * size);
          q.set(logSoftmax(all[rows + row]!), row * size);
        }
        const block = createReferenceBlock(rows, size);
        block.fill(p, rows);
        for (let row = 0; row < rows; row++) {
          const own = [...p.subarray(row * size, (row + 1) * size)];
          const other = [...q.subarray(row * size, (row + 1) * size)];
          const expected = own.reduce((sum, value, index) => sum + Math.exp(value) * (value - other[index]!), 0);
          const { divergence, agrees } = compareRow(block, q, row, { divergence: NaN, agrees: false });
          expect(Math.abs(divergence - expected)).toBeLessThan(1e-6 * (1 + expected));
          const top = own.indexOf(Math.max(...own));
          expect(block.top[row]).toBe(top);
          expect(agrees).toBe(other[top] === Math.max(...other));
        }
      }),
    );
  });

  it("is exactly zero against the reference itself", () => {
    const p = logSoftmax([3, 1, -2, 0.5, 7, 7]);
    const block = createReferenceBlock(1, p.length);
    block.fill(p, 1);
    expect(compareRow(block, p, 0, { divergence: NaN, agrees: false })).toEqual({ divergence: 0, agrees: true });
    expect(block.top[0]).toBe(4);
  });

  it("treats impossible tokens as the definition does", () => {
    const p = Float32Array.of(0, -Infinity, -Infinity);
    const block = createReferenceBlock(1, 3);
    block.fill(p, 1);
    const out = { divergence: NaN, agrees: false };
    expect(compareRow(block, Float32Array.of(Math.log(0.5), Math.log(0.5), -Infinity), 0, out).divergence).toBeCloseTo(Math.log(2), 7);
    expect(compareRow(block, Float32Array.of(-Infinity, 0, -Infinity), 0, out)).toEqual({ divergence: Infinity, agrees: false });
  });

  it("refuses more rows than fit", () => {
    expect(() => createReferenceBlock(1, 2).fill(new Float32Array(4), 2)).toThrow(RangeError);
  });
});
