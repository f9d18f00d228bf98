/** Each baseline against its formula, worked out apart from it. */

import { floatFromHalf, halfFromFloat } from "@kvquant/packing";
import type { Matrix } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { coupledChannels, integer, kivi, llamaBlocks, normalFloats, turbo } from "../index.js";
import type { LayerStatistics, Quantizer } from "../index.js";
import { makeMatrix, makePage, makeStatistics, randomNumbers } from "../testing/index.js";
import { balanceDeviations, imbalance } from "./balance-deviations.js";
import { fitCentroids, nearestCentroid } from "./fit-centroids.js";

const shape = { layers: 1, queryHeads: 2, kvHeads: 2, headDim: 64 };
const statistics = makeStatistics({ shape, sensitivity: "none", windows: 1, tokens: 577 }).layers[0]!;
const { k: page } = makePage(shape);

function roundTrip(quantizer: Quantizer, x: Matrix, layer: LayerStatistics = statistics): { bytes: Uint8Array; decoded: Float32Array } {
  const codec = quantizer.open(quantizer.fit(layer));
  const block = codec.encode(x);
  const out = makeMatrix(x.rows, x.cols, () => Number.NaN);
  codec.decode(block, out);
  return { bytes: block.bytes, decoded: out.data };
}

const half = (x: number): number => floatFromHalf(halfFromFloat(x));

/** Largest distance of decoded values from what the group's own integers allow: half a step, and the rounding of its fp16 scale and zero point. */
function checkIntegers(values: readonly number[], decoded: readonly number[], bits: number): void {
  const low = Math.min(...values);
  const step = (Math.max(...values) - low) / (2 ** bits - 1);
  const slack = (step * 2 ** bits + Math.abs(low)) * 2 ** -11;
  values.forEach((value, index) => expect(Math.abs(value - decoded[index]!)).toBeLessThanOrEqual(0.5 * step + slack));
}

describe("integers", () => {
  it("are off by half a step of their own group, whatever the axis and group", () => {
    for (const [axis, group] of [["token", undefined], ["token", 32], ["token", 48], ["channel", undefined], ["channel", 32], ["channel", 24]] as const) {
      const { decoded } = roundTrip(integer({ side: "key", bits: 4, axis, group }), page);
      const at = (row: number, col: number): [number, number] => [page.data[row * 128 + col]!, decoded[row * 128 + col]!];
      const groups = new Map<string, [number, number][]>();
      for (let row = 0; row < 64; row++) {
        for (let col = 0; col < 128; col++) {
          const name = axis === "token" ? `${row} ${Math.floor(col / 64)} ${Math.floor((col % 64) / (group ?? 64))}` : `${col} ${Math.floor(row / (group ?? 64))}`;
          groups.set(name, [...(groups.get(name) ?? []), at(row, col)]);
        }
      }
      for (const pairs of groups.values()) checkIntegers(pairs.map(([x]) => x), pairs.map(([, y]) => y), 4);
    }
  });

  it("write the bytes worked out by hand", () => {
    // One head of 8 channels: -1 to 2.5 in steps of 0.5 at 3 bits: scale 0.5 = 0x3800, zero -1 = 0xbc00, codes 0 .. 7 = the bits of octal 76543210.
    const small = makeStatistics({ shape: { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 8 }, sensitivity: "none", windows: 1, tokens: 40 }).layers[0]!;
    const { bytes, decoded } = roundTrip(integer({ side: "value", bits: 3, axis: "token" }), makeMatrix(1, 8, (_, col) => col / 2 - 1), small);
    expect(Buffer.from(bytes).toString("hex")).toBe("88c6fa" + "0038" + "00bc");
    expect([...decoded]).toEqual([-1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5]);
  });
});

describe("NormalFloat", () => {
  it("decodes numbers that are levels times the largest magnitude exactly, and others to the nearest level", () => {
    // Published NF4 levels (QLoRA, appendix E), times 2.
    const levels = [-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1];
    const x = makeMatrix(2, 128, (row, col) => 2 * levels[(col + row) % 16]! + (row === 1 && col % 16 !== 15 && col % 16 !== 14 ? 0.01 : 0));
    const { decoded } = roundTrip(normalFloats({ side: "value", bits: 4, axis: "token", group: 32 }), x);
    for (let index = 0; index < 256; index++) {
      const value = x.data[index]!;
      const nearest = levels.reduce((best, level) => (Math.abs(2 * level - value) < Math.abs(2 * best - value) ? level : best));
      expect(decoded[index]).toBeCloseTo(2 * nearest, 2);
      if (index < 128) expect(decoded[index]).toBeCloseTo(value, 6);
    }
  });
});

describe("KIVI", () => {
  it("gives each channel of keys a scale for every 32 tokens, and each 32 channels of a token of values one", () => {
    const { key, value } = kivi(2);
    // A value that is large in one group only must not disturb another one.
    const calm = makeMatrix(64, 128, (row, col) => ((row + col) % 4) / 4);
    const keys = roundTrip(key, { ...calm, data: calm.data.map((x, index) => (index === 40 * 128 + 3 ? 1000 : x)) }).decoded;
    const values = roundTrip(value, { ...calm, data: calm.data.map((x, index) => (index === 40 * 128 + 3 ? 1000 : x)) }).decoded;
    const wrong = (decoded: Float32Array): [number, number][] => [...decoded].flatMap((x, index) => (Math.abs(x - calm.data[index]!) > 0.01 ? [[Math.floor(index / 128), index % 128] as [number, number]] : []));
    expect(wrong(keys).every(([row, col]) => col === 3 && row >= 32)).toBe(true);
    expect(wrong(values).every(([row, col]) => row === 40 && col < 32)).toBe(true);
    expect(wrong(keys).length * wrong(values).length).toBeGreaterThan(0);
    expect(key.frame).toBe("post-rope");
  });
});

describe("rotations", () => {
  /** Sylvester's matrix, entry by entry: the sign is the parity of the bits that row and column share. */
  const hadamard = (n: number, row: number, col: number): number => {
    let shared = row & col;
    let sign = 1;
    for (; shared > 0; shared >>= 1) if (shared & 1) sign = -sign;
    return sign / Math.sqrt(n);
  };
  function rotate(x: Float32Array, n: number): Float32Array {
    return Float32Array.from({ length: x.length }, (_, index) => {
      const start = Math.floor(index / n) * n;
      let sum = 0;
      for (let i = 0; i < n; i++) sum += x[start + i]! * hadamard(n, i, index - start);
      return sum;
    });
  }

  it("of llama.cpp are 64 channels wide for values and as wide as a power of two goes into the head for keys", () => {
    for (const [headDim, side, n] of [[64, "key", 64], [128, "key", 128], [192, "key", 64], [256, "key", 256], [128, "value", 64], [256, "value", 64]] as const) {
      const one = { layers: 1, queryHeads: 1, kvHeads: 1, headDim };
      const layer = makeStatistics({ shape: one, sensitivity: "none", windows: 1, tokens: 40 }).layers[0]!;
      const x = makePage(one, 3).v;
      const plain = roundTrip(llamaBlocks({ side, format: "q8_0" }), { ...x, data: rotate(x.data, n) }, layer);
      const rotated = roundTrip(llamaBlocks({ side, format: "q8_0", rotated: true }), x, layer);
      // Sums in another order may move a value across a rounding edge; almost all bytes must agree, and numbers to a step.
      const different = rotated.bytes.filter((byte, index) => byte !== plain.bytes[index]).length;
      expect(different).toBeLessThanOrEqual(2);
      rotate(plain.decoded, n).forEach((value, index) => expect(rotated.decoded[index]).toBeCloseTo(value, 1));
    }
  });

  it("of TurboQuant keep each head's norm, and its error is that of Lloyd-Max levels on normal numbers", () => {
    // Max 1960, table I: mean squared errors of 4, 8 and 16 levels.
    const errors = { 2: 0.1175, 3: 0.03454, 4: 0.009497 } as const;
    for (const bits of [2, 3, 4] as const) {
      const { decoded } = roundTrip(turbo({ side: "key", bits }), page);
      let error = 0;
      for (let start = 0; start < page.data.length; start += 64) {
        let square = 0;
        let difference = 0;
        for (let index = start; index < start + 64; index++) {
          square += page.data[index]! ** 2;
          difference += (page.data[index]! - decoded[index]!) ** 2;
        }
        error += difference / square / 128;
      }
      expect(error / errors[bits]).toBeGreaterThan(0.8);
      expect(error / errors[bits]).toBeLessThan(1.2);
    }
  });
});

describe("balancing of KVarN", () => {
  // Computed with numpy from the published formula (float64, ddof 1): [[1, -2, 3, 5], [40, 10, -20, 30], [0.5, 0.25, -0.5, 0.125]], imbalance 65.743 before and 2.7826 after.
  const tile = { data: Float64Array.of(1, -2, 3, 5, 40, 10, -20, 30, 0.5, 0.25, -0.5, 0.125), rows: 3, cols: 4 };

  it("finds the scales of its formula", () => {
    const { row, col } = balanceDeviations(tile);
    [3.928265224993609, 33.07251205608284, 0.7408182206817179].forEach((scale, index) => expect(row[index]).toBeCloseTo(scale, 9));
    [0.7408182206817179, 0.7408182206817179, 0.9552434176355528, 0.7408182206817179].forEach((scale, index) => expect(col[index]).toBeCloseTo(scale, 9));
    expect(imbalance(tile)).toBeCloseTo(65.74307392224709, 9);
    expect(imbalance({ ...tile, data: tile.data.map((value, index) => value / (row[Math.floor(index / 4)]! * col[index % 4]!)) })).toBeCloseTo(2.782603653880251, 9);
  });

  it("leaves a tile of one row or column, and one of zeros, with scales that decode", () => {
    for (const [rows, cols] of [[1, 8], [8, 1], [4, 4]] as const) {
      const { row, col } = balanceDeviations({ data: new Float64Array(rows * cols), rows, cols });
      expect([...row, ...col].every((scale) => scale > 0.7 && scale < 1e4)).toBe(true);
    }
  });
});

describe("coupled channels", () => {
  const random = randomNumbers(5);
  const clusters = [[0, 0], [10, 0], [0, 10], [10, 10]] as const;
  const points = Float32Array.from({ length: 400 }, (_, index) => clusters[Math.floor(index / 2) % 4]![index % 2]! + random() - 0.5);

  it("find clusters that lie apart, and the weighted mean of each", () => {
    const weights = Float64Array.from({ length: 200 }, () => random());
    const centroids = fitCentroids({ points, weights, dim: 2 }, { centroids: 4, seed: 3 });
    clusters.forEach((cluster, which) => {
      const mean = [0, 1].map((i) => {
        let sum = 0;
        let total = 0;
        for (let point = which; point < 200; point += 4) {
          sum += weights[point]! * points[2 * point + i]!;
          total += weights[point]!;
        }
        return sum / total;
      });
      const found = nearestCentroid(centroids, 2, Float32Array.from(cluster), 0);
      expect(centroids[2 * found]).toBeCloseTo(mean[0]!, 5);
      expect(centroids[2 * found + 1]).toBeCloseTo(mean[1]!, 5);
    });
    expect(fitCentroids({ points, weights, dim: 2 }, { centroids: 4, seed: 3 })).toEqual(centroids);
    expect(() => fitCentroids({ points, weights: weights.fill(0), dim: 2 }, { centroids: 4, seed: 3 })).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("use what channels share: channels that repeat each other cost no more error in fours than in twos", () => {
    const copied = makeMatrix(64, 128, (row, col) => page.data[row * 128 + col - (col % 4)]!);
    const layer: LayerStatistics = { ...statistics, heldOut: statistics.heldOut.map((held) => ({ ...held, keys: { scale: 1, bits: Uint16Array.from(copied.data, halfFromFloat) } })) };
    const errors = ([2, 4] as const).map((channels) => {
      const { decoded } = roundTrip(coupledChannels({ side: "key", channels }), copied, layer);
      return decoded.reduce((sum, value, index) => sum + (value - copied.data[index]!) ** 2, 0);
    });
    // 64 vectors for 256 centroids: every vector is a centroid, rounded to fp16.
    expect(errors[1]).toBeCloseTo(errors[0]!, 6);
    expect(half(copied.data[0]!)).toBe(roundTrip(coupledChannels({ side: "key", channels: 4 }), copied, layer).decoded[0]);
  });
});
