import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { applyRope } from "./apply-rope.js";
import type { ApplyRopeOptions } from "./apply-rope.js";
import { halfToInterleaved, interleavedToHalf } from "./channel-permutation.js";
import { createRope } from "./create-rope.js";
import type { Pairing } from "./rope-config.js";

interface GoldenRotation {
  readonly dim: number;
  readonly pos: number;
  readonly x: number[];
  readonly half_split: number[];
  readonly interleaved: number[];
}

const golden = JSON.parse(readFileSync(new URL("../golden/rope-expected.json", import.meta.url), "utf8")) as { rotations: GoldenRotation[] };

const pairings = ["half", "interleaved"] as const;
const randomPairing = fc.constantFrom<Pairing>(...pairings);
const randomPosition = fc.integer({ min: 0, max: 1_000_000 });

/** Random sizes with partial rotary, and random data [rows, heads * headDim]. */
const randomBlock = fc
  .record({ rows: fc.integer({ min: 1, max: 5 }), heads: fc.integer({ min: 1, max: 3 }), pairs: fc.integer({ min: 1, max: 9 }), rest: fc.integer({ min: 0, max: 5 }), pairing: randomPairing })
  .chain(({ rows, heads, pairs, rest, pairing }) => {
    const headDim = 2 * pairs + rest;
    const size = rows * heads * headDim;
    const values = fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: size, maxLength: size });
    return values.map((data) => ({ x: Float32Array.from(data), options: { rows, heads, headDim, rotaryDim: 2 * pairs, pairing } }));
  });

function ropeFor(options: { headDim: number; rotaryDim: number }) {
  return createRope({ headDim: options.headDim, rotaryDim: options.rotaryDim, base: 10_000, scaling: { type: "none" } });
}

function rotated(x: Float32Array, position: number, options: ApplyRopeOptions): Float32Array {
  const table = ropeFor(options).tables(position, options.rows, position + options.rows);
  return applyRope(x, table, { ...options, out: new Float32Array(x.length).fill(NaN) });
}

function expectClose(actual: Float32Array, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < actual.length; i++) {
    if (!(Math.abs(actual[i]! - expected[i]!) <= tolerance)) expect.fail(`index ${i}: ${actual[i]!} instead of ${expected[i]!}`);
  }
}

describe("applyRope", () => {
  test.each(golden.rotations.map((entry) => [entry.dim, entry.pos, entry] as const))("golden rotation of dim %i at position %i agrees to fp32 rounding in both pairings", (dim, pos, entry) => {
    const options = { rows: 1, heads: 1, headDim: dim, rotaryDim: dim } as const;
    const x = Float32Array.from(entry.x);
    expectClose(rotated(x, pos, { ...options, pairing: "half" }), entry.half_split, 6e-7);
    expectClose(rotated(x, pos, { ...options, pairing: "interleaved" }), entry.interleaved, 6e-7);
  });

  test("all six golden rotations are there", () => {
    expect(golden.rotations.length).toBe(6);
  });

  test("every row and head is rotated by its own row's angle", () => {
    fc.assert(
      fc.property(randomBlock, randomPosition, ({ x, options }, position) => {
        const { heads, headDim, rotaryDim, pairing } = options;
        const expected = Float32Array.from(x);
        for (let head = 0; head < x.length; head += headDim) {
          for (let pair = 0; pair < rotaryDim / 2; pair++) {
            const angle = (position + Math.floor(head / headDim / heads)) * 10_000 ** ((-2 * pair) / rotaryDim);
            const [i, j] = pairing === "half" ? [head + pair, head + pair + rotaryDim / 2] : [head + 2 * pair, head + 2 * pair + 1];
            expected[i] = x[i]! * Math.cos(angle) - x[j]! * Math.sin(angle);
            expected[j] = x[i]! * Math.sin(angle) + x[j]! * Math.cos(angle);
          }
        }
        expectClose(rotated(x, position, options), expected, 2e-6);
      }),
    );
  });

  test("the norm of every pair is kept, and channels past the rotary dim pass through unchanged", () => {
    fc.assert(
      fc.property(randomBlock, randomPosition, ({ x, options }, position) => {
        const y = rotated(x, position, options);
        const { headDim, rotaryDim, pairing } = options;
        for (let head = 0; head < x.length; head += headDim) {
          for (let pair = 0; pair < rotaryDim / 2; pair++) {
            const [i, j] = pairing === "half" ? [head + pair, head + pair + rotaryDim / 2] : [head + 2 * pair, head + 2 * pair + 1];
            expect(Math.abs(Math.hypot(y[i]!, y[j]!) - Math.hypot(x[i]!, x[j]!))).toBeLessThan(2e-6);
          }
          for (let channel = rotaryDim; channel < headDim; channel++) expect(y[head + channel]).toBe(x[head + channel]);
        }
      }),
    );
  });

  test("position 0 is the identity", () => {
    fc.assert(fc.property(randomBlock, ({ x, options: { heads, headDim, rotaryDim, pairing } }) => {
      const row = x.slice(0, heads * headDim);
      // Adding zeros makes -0 equal 0.
      expect(rotated(row, 0, { rows: 1, heads, headDim, rotaryDim, pairing }).map((value) => value + 0)).toEqual(row.map((value) => value + 0));
    }));
  });

  test("inverse undoes it, with and without the attention factor", () => {
    fc.assert(
      fc.property(randomBlock, randomPosition, fc.boolean(), ({ x, options }, position, attentionFactor) => {
        const table = { ...ropeFor(options).tables(position, options.rows, 1), attentionFactor: 1.37 };
        const y = applyRope(x.slice(), table, { ...options, attentionFactor });
        expectClose(applyRope(y, table, { ...options, attentionFactor, inverse: true }), x, 3e-6);
      }),
    );
  });

  test("rotating by p0 and then by p1 is rotating by p0 + p1", () => {
    fc.assert(
      fc.property(randomBlock, randomPosition, randomPosition, ({ x, options: { heads, headDim, rotaryDim, pairing } }, p0, p1) => {
        const row = x.slice(0, heads * headDim);
        const options = { rows: 1, heads, headDim, rotaryDim, pairing };
        expectClose(rotated(rotated(row, p0, options), p1, options), rotated(row, p0 + p1, options), 4e-6);
      }),
    );
  });

  test("the score of a query and a key depends on their distance only", () => {
    fc.assert(
      fc.property(randomBlock, randomPosition, fc.integer({ min: 0, max: 5000 }), randomPosition, ({ x, options: { headDim, rotaryDim, pairing } }, m, distance, shift) => {
        const options = { rows: 1, heads: 1, headDim, rotaryDim, pairing };
        const query = x.slice(0, headDim);
        const key = query.map((value, i) => Math.cos(i) * 3 - value);
        const score = (start: number): number => {
          const q = rotated(query, start + distance, options);
          return rotated(key, start, options).reduce((sum, value, i) => sum + value * q[i]!, 0);
        };
        expect(Math.abs(score(m) - score(m + shift))).toBeLessThan(1e-4);
      }),
    );
  });

  test("both pairings agree under the channel permutation", () => {
    fc.assert(
      fc.property(randomBlock, randomPosition, ({ x, options: { heads, headDim, rotaryDim } }, position) => {
        const options = { rows: 1, heads, headDim, rotaryDim };
        const permute = (values: Float32Array, permutation: Uint32Array): Float32Array =>
          values.map((_, i) => values[i - (i % headDim) + permutation[i % headDim]!]!);
        const half = x.slice(0, heads * headDim);
        const viaInterleaved = rotated(permute(half, halfToInterleaved(headDim, rotaryDim)), position, { ...options, pairing: "interleaved" });
        expect(permute(viaInterleaved, interleavedToHalf(headDim, rotaryDim))).toEqual(rotated(half, position, { ...options, pairing: "half" }));
      }),
    );
  });

  test("offset picks the table rows, and the attention factor scales rotated channels only", () => {
    const options = { rows: 2, heads: 2, headDim: 6, rotaryDim: 4, pairing: "half" } as const;
    const x = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i));
    const rope = ropeFor(options);
    const plain = applyRope(x.slice(), rope.tables(5, 2, 7), options);
    expect(applyRope(x.slice(), rope.tables(2, 10, 12), { ...options, offset: 3 })).toEqual(plain);
    const scaled = applyRope(x.slice(), { ...rope.tables(5, 2, 7), attentionFactor: 2 }, { ...options, attentionFactor: true });
    expect(scaled).toEqual(plain.map((value, i) => (i % 6 < 4 ? value * 2 : value)));
    expect(applyRope(x.slice(), { ...rope.tables(5, 2, 7), attentionFactor: 2 }, options)).toEqual(plain);
  });

  test("it works in place unless told where to write, and returns what it wrote", () => {
    const options = { rows: 1, heads: 1, headDim: 8, rotaryDim: 6, pairing: "half" } as const;
    const x = Float32Array.from({ length: 8 }, (_, i) => i + 1);
    const original = x.slice();
    const table = ropeFor(options).tables(3, 1, 4);
    const out = new Float32Array(8).fill(NaN);
    expect(applyRope(x, table, { ...options, out })).toBe(out);
    expect(x).toEqual(original);
    expect(applyRope(x, table, options)).toBe(x);
    expect(x).toEqual(out);
  });

  test("no rows are no work, and wrong shapes are refused before anything is written", () => {
    const options = { rows: 2, heads: 1, headDim: 4, rotaryDim: 4, pairing: "half" } as const;
    const table = ropeFor(options).tables(0, 2, 2);
    expect(applyRope(new Float32Array(0), table, { ...options, rows: 0 }).length).toBe(0);
    const x = new Float32Array(8).fill(1);
    expect(() => applyRope(x, table, { ...options, offset: 1 })).toThrow(/at least 3 positions \(offset 1 \+ rows 2\), got 2/);
    expect(() => applyRope(x.subarray(1), table, options)).toThrow(/x: expected length 8, got 7/);
    expect(() => applyRope(x, table, { ...options, rotaryDim: 2 })).toThrow(/rope table/);
    expect(() => applyRope(x, table, { ...options, out: new Float32Array(7) })).toThrow(/out: expected length 8/);
    expect(() => applyRope(x, table, { ...options, pairing: "both" as Pairing })).toThrow(/pairing/);
    expect(x).toEqual(new Float32Array(8).fill(1));
  });

  test.each<[string, Partial<ApplyRopeOptions>, RegExp]>([
    ["negative rows", { rows: -1 }, /rows/],
    ["no heads", { heads: 0 }, /heads/],
    ["a head dim of 1", { headDim: 1 }, /headDim/],
    ["no rotary dim", { rotaryDim: 0 }, /rotaryDim/],
    ["an odd rotary dim", { rotaryDim: 3 }, /rotaryDim: expected an even number, got 3/],
    ["a rotary dim above the head dim", { rotaryDim: 6 }, /rotaryDim/],
    ["a negative offset", { offset: -1 }, /offset/],
    ["a fractional offset", { offset: 0.5 }, /offset/],
  ])("%s is INVALID_ARGUMENT", (_name, change, message) => {
    const options = { rows: 2, heads: 1, headDim: 4, rotaryDim: 4, pairing: "half", ...change } as const;
    const act = (): unknown => applyRope(new Float32Array(8), ropeFor({ headDim: 4, rotaryDim: 4 }).tables(0, 8, 8), options);
    expect(act).toThrow(message);
    expect(act).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error);
  });

  test("a table whose cosines or sines are not as many as it says is refused", () => {
    const table = ropeFor({ headDim: 4, rotaryDim: 4 }).tables(0, 2, 2);
    const options = { rows: 2, heads: 1, headDim: 4, rotaryDim: 4, pairing: "half" } as const;
    for (const change of [{ cos: new Float32Array(3) }, { sin: new Float32Array(5) }, { count: 3 }]) {
      expect(() => applyRope(new Float32Array(8), { ...table, ...change }, options)).toThrow(/rope table/);
    }
  });
});
