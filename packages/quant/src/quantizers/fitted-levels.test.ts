import { addSample, createHistogram, fitOnGrid, midpoints, qNorm, snapToGrid, uniformOnGrid } from "@kvquant/codebook";
import type { WeightedHistogram } from "@kvquant/codebook";
import { expect, test } from "vitest";
import { fitLevels } from "./fitted-levels.js";
import { headPacking } from "./head-packing.js";

function histogramOf(values: readonly number[]): WeightedHistogram {
  const histogram = createHistogram(64, -1, 1);
  for (const value of values) addSample(histogram, value, 1);
  return histogram;
}

const empty = histogramOf([]);
const weighted = histogramOf([-0.9, -0.8, -0.2, 0.1, 0.15, 0.4, 0.5, 0.95, 1]);
const plain = histogramOf([-0.5, -0.3, 0, 0.2, 0.3, 0.6]);

test("learned levels are those on the grid that fit the weighted values, searched by their midpoints", () => {
  const levels = fitOnGrid(weighted, 4);
  expect(fitLevels("learned", 2, { histogram: { weighted, plain } })).toEqual({ levels, midpoints: midpoints(levels) });
});

test("uniform levels, and learned ones of no data or data without weight, are even", () => {
  const even = { levels: uniformOnGrid(2), midpoints: midpoints(uniformOnGrid(2)) };
  expect(fitLevels("uniform", 2, { histogram: { weighted, plain } })).toEqual(even);
  expect(fitLevels("learned", 2, {})).toEqual(even);
  expect(fitLevels("learned", 2, { qNorm: true })).toEqual(even);
  expect(fitLevels("learned", 2, { histogram: { weighted: empty, plain: empty }, qNorm: true })).toEqual(even);
});

test("Q-Norm moves the levels for the values without weights, and not what they are searched by", () => {
  const levels = fitOnGrid(weighted, 4);
  expect(fitLevels("learned", 2, { histogram: { weighted, plain }, qNorm: true })).toEqual({ levels: snapToGrid(qNorm(plain, levels)), midpoints: midpoints(levels) });
  expect(snapToGrid(qNorm(plain, levels))).not.toEqual(levels);
  expect(fitLevels("learned", 2, { histogram: { weighted, plain: empty }, qNorm: true })).toEqual({ levels, midpoints: midpoints(levels) });
  const even = uniformOnGrid(2);
  expect(fitLevels("learned", 2, { histogram: { weighted: empty, plain }, qNorm: true })).toEqual({ levels: snapToGrid(qNorm(plain, even)), midpoints: midpoints(even) });
});

test("codes take the kernels' lanes where the head dim is a multiple of 16, else a plain stream of bits; 2 to 5 bits", () => {
  const sizes = ([2, 3, 4, 5] as const).flatMap((bits) => [16, 24, 80].map((headDim) => [headPacking("key", bits, headDim), headPacking("value", bits, headDim), bits, headDim] as const));
  for (const [key, value, bits, headDim] of sizes) {
    expect([key.id, value.id]).toEqual(headDim === 24 ? [`linear-${bits}`, `linear-${bits}`] : [`key-lanes-${bits}x${headDim}`, `value-lanes-${bits}x${headDim}`]);
    for (const packing of [key, value]) {
      expect(packing.byteLength).toBe(8 * bits * headDim);
      const codes = Uint8Array.from({ length: 64 * headDim }, (_, index) => (index * 13 + (index >> 5)) % 2 ** bits);
      const [bytes, back] = [new Uint8Array(packing.byteLength), new Uint8Array(codes.length)];
      packing.pack(codes, bytes);
      packing.unpack(bytes, back);
      expect(back).toEqual(codes);
    }
  }
  for (const bits of [1, 6, 2.5]) expect(() => headPacking("key", bits as 2, 16)).toThrow(/bits: expected 2, 3, 4 or 5/);
});
