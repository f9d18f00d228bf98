import { midpoints, uniformOnGrid } from "@kvquant/codebook";
import { floatFromHalf, halfFromFloat } from "@kvquant/packing";
import type { Matrix, QuantizerArtifact, Side } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { channelOfCode } from "../geometry.js";
import { applyHadamard } from "../numeric/hadamard.js";
import type { Quantizer } from "../quantizer.js";
import { makeMatrix, randomNumbers } from "../testing/index.js";
import { headPacking } from "./head-packing.js";
import { rotatedValues } from "./rotated-values.js";
import { tokenValues } from "./token-values.js";

const { abs, fround, max, min, sqrt } = Math;
const half = (x: number): number => floatFromHalf(halfFromFloat(x));
const inverse = (x: number): number => (x === 0 ? 0 : fround(1 / x));

const [kvHeads, headDim] = [2, 24];
const columns = kvHeads * headDim;
const geometry = Float32Array.of(kvHeads, headDim, 10);
const levels = uniformOnGrid(5);
const shared = { geometry, levels, midpoints: midpoints(levels) };
const codeOf = (x: number): number => shared.midpoints.filter((midpoint) => midpoint < x).length;

function artifact(side: Side, id: string, arrays: Record<string, Float32Array>): QuantizerArtifact {
  return { id, bits: 5, packing: headPacking(side, 5, headDim).id, stages: [], arrays: { ...shared, ...arrays } };
}

/** Encodes and decodes pages of 1 to 64 tokens, of which some are constant, and compares each row with `expected`; returns all that saturated. */
function compare(quantizer: Quantizer, fitted: QuantizerArtifact, expected: (row: Float32Array) => { decoded: ArrayLike<number>; saturated?: number }): number {
  const codec = quantizer.open(fitted);
  const random = randomNumbers(11);
  let total = 0;
  for (const tokens of [1, 64, 13]) {
    const x: Matrix = makeMatrix(tokens, columns, (row, col) => (row % 7 === 3 ? 0.25 : (random() + random() - 1) * (row % 2 === 0 && col < headDim ? 4 : 1)));
    const out = makeMatrix(tokens, columns, () => Number.NaN);
    const block = codec.encode(x);
    codec.decode(block, out);
    const rows = Array.from({ length: tokens }, (_, token) => expected(x.data.slice(token * columns, (token + 1) * columns)));
    expect(out.data).toEqual(Float32Array.from(rows.flatMap(({ decoded }) => [...Array.from(decoded)])));
    const saturated = rows.reduce((sum, row) => sum + (row.saturated ?? 0), 0);
    expect(block.saturated).toBe(saturated);
    total += saturated;
  }
  return total;
}

describe("the codec of tokens", () => {
  function byDefinition(x: Float32Array, count: number, codes: readonly number[]): { decoded: number[]; saturated: number } {
    const mean = fround(x.reduce((sum, value) => fround(sum + value), 0) / columns);
    const farthest = Array.from(x.keys()).toSorted((a, b) => abs(fround(x[b]! - mean)) - abs(fround(x[a]! - mean)));
    const [chosen, rest] = [farthest.slice(0, count), farthest.slice(count).map((column) => x[column]!)];
    const [low, high] = [min(...rest), max(...rest)];
    const scale = half(fround(fround(high - low) / 2));
    const zero = half(fround(fround(high + low) / 2));
    const normalised = (column: number): number => fround(fround(x[column]! - zero) * inverse(scale));
    const decoded = Array.from(x.keys(), (column) => fround(fround(levels[codeOf(normalised(column))]! * scale) + zero));
    let saturated = 0;
    for (let head = 0; head < kvHeads; head++) {
      // In code order, so that a stable sort breaks ties by it.
      const own = codes.map((channel) => head * headDim + channel).filter((column) => chosen.includes(column));
      const slots = own.toSorted((a, b) => abs(normalised(b)) - abs(normalised(a))).slice(0, 15);
      for (const column of slots) decoded[column] = fround(decoded[column]! + half(fround(x[column]! - decoded[column]!)));
      saturated += own.length - slots.length;
    }
    return { decoded, saturated };
  }

  const inOrder = Array.from({ length: headDim }, (_, channel) => channel);
  for (const count of [0, 1, 20]) {
    it(`decodes to what its arithmetic is documented to be, with ${count} outliers a token`, () => {
      const saturated = compare(tokenValues({ bits: 5 }), artifact("value", "kvquant/token-values", { outliers: Float32Array.of(count) }), (x) => byDefinition(x, count, inOrder));
      expect(saturated > 0).toBe(count === 20);
    });
  }

  it("numbers the codes of keys by pairs of RoPE", () => {
    compare(tokenValues({ bits: 5, side: "key", levels: "uniform" }), artifact("key", "kvquant/token-keys-post-rope", { outliers: Float32Array.of(20) }), (x) => byDefinition(x, 20, [...channelOfCode({ kvHeads, headDim, rotaryDim: 10 })]));
  });
});

describe("the codec of rotated values", () => {
  it("decodes to what its arithmetic is documented to be", () => {
    const random = randomNumbers(5);
    const mean = Float32Array.from({ length: columns }, () => half(random() - 0.5));
    const deviation = Float32Array.from({ length: columns }, () => half(0.3 + random()));
    compare(rotatedValues({ bits: 5 }), artifact("value", "kvquant/rotated-values", { mean, deviation }), (x) => {
      const y = applyHadamard(x.slice(), 8).map((u, column) => fround(u - mean[column]!) * inverse(deviation[column]!));
      const sum = y.reduce((total, value) => fround(total + fround(value * value)), 0);
      const scale = half(fround(3 * fround(sqrt(fround(sum / columns)))));
      return { decoded: applyHadamard(y.map((value, column) => fround(fround(levels[codeOf(fround(value * inverse(scale)))]! * scale) * deviation[column]!) + mean[column]!), 8) };
    });
  });

  it("of a token at the mean, which no scale can stand for, decodes to the mean", () => {
    const mean = new Float32Array(columns).fill(0.5);
    const fitted = artifact("value", "kvquant/rotated-values", { mean, deviation: new Float32Array(columns).fill(1) });
    const x = { data: applyHadamard(mean.slice(), 8), rows: 1, cols: columns };
    const out = makeMatrix(1, columns, () => Number.NaN);
    const codec = rotatedValues({ bits: 5 }).open(fitted);
    codec.decode(codec.encode(x), out);
    out.data.forEach((value, column) => expect(value).toBeCloseTo(x.data[column]!, 6));
  });
});
