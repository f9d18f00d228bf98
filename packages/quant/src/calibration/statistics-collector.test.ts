import { applyRope, createRope } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape, Matrix } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { crc32 } from "../artifact/crc32.js";
import { makeMatrix, makeStatistics, makeWindow, normalNumbers } from "../testing/index.js";
import { CHANNEL_BINS } from "./channel-histograms.js";
import { FEEDBACK_DISTANCES } from "./gram-matrix.js";
import { decodeScaledHalves } from "./held-out-page.js";
import { channelQuantile, keyRange, normalisedKeys } from "./key-range.js";
import type { CalibrationStatistics, LayerStatistics } from "./layer-statistics.js";
import type { LayerWindow, Sensitivity } from "./layer-window.js";
import { createStatisticsCollector } from "./statistics-collector.js";
import { decodeStatistics, encodeStatistics } from "./statistics-file.js";

const shape: CacheShape = { layers: 1, queryHeads: 4, kvHeads: 2, headDim: 8 };
const columns = 16;
const rope: RopeConfig = { headDim: 8, rotaryDim: 6, base: 100, scaling: { type: "none" } };

function collect(windows: readonly LayerWindow[], sensitivity: Sensitivity = "fisher", sinkTokens = 1): CalibrationStatistics {
  const collector = createStatisticsCollector({ shape, rope, sinkTokens, sensitivity });
  for (const window of windows) collector.add(0, window);
  return collector.finish();
}

function layerOf(windows: readonly LayerWindow[], sensitivity: Sensitivity = "fisher", sinkTokens = 1): LayerStatistics {
  return collect(windows, sensitivity, sinkTokens).layers[0]!;
}

/** Tells statistics apart by every byte that they save. */
function digest(statistics: CalibrationStatistics): number {
  return crc32(encodeStatistics(statistics));
}

/** Rows that count: not a sink, not in a held-out page (pages 7, 15, ... of 64 after the sinks). */
function countedRows(tokens: number, sinks = 1): number[] {
  const full = Math.floor((tokens - sinks) / 64);
  return Array.from({ length: tokens }, (_, row) => row).filter((row) => row >= sinks && !(Math.floor((row - sinks) / 64) % 8 === 7 && Math.floor((row - sinks) / 64) < full));
}

function column(matrix: Matrix, col: number, rows: number[]): number[] {
  return rows.map((row) => matrix.data[row * matrix.cols + col]!);
}

function changeRows(matrix: Matrix, change: (value: number, row: number) => number): Matrix {
  return makeMatrix(matrix.rows, matrix.cols, (row, col) => change(matrix.data[row * matrix.cols + col]!, row));
}

describe("statistics", () => {
  const windows = [1, 2, 3].map((seed) => makeWindow({ shape, tokens: 700, seed }));

  it("know every quantile of every channel to within a bin of an exact sort", () => {
    const { key } = layerOf(windows);
    const rows = countedRows(700);
    for (let col = 0; col < columns; col++) {
      const sorted = Float64Array.from(windows.flatMap(({ k }) => column(k, col, rows))).sort();
      expect(key.minimum[col]).toBe(sorted[0]);
      expect(key.maximum[col]).toBe(sorted.at(-1));
      for (const q of [0, 0.0025, 0.005, 0.1, 0.5, 0.77, 0.995, 1]) {
        const rank = q * (sorted.length - 1);
        const exact = sorted[Math.floor(rank)]! + (sorted[Math.ceil(rank)]! - sorted[Math.floor(rank)]!) * (rank % 1);
        expect(Math.abs(channelQuantile(key, col, q) - exact)).toBeLessThanOrEqual(key.channels.width[col]! * 1.001);
      }
      expect(channelQuantile(key, col, 0)).toBe(sorted[0]);
      expect(channelQuantile(key, col, 1)).toBe(sorted.at(-1));
      expect(key.channels.width[col]! * CHANNEL_BINS).toBeLessThan(6.1 * (sorted.at(-1)! - sorted[0]!));
    }
  });

  it("have quantiles of their own channels only, at fractions from 0 to 1", () => {
    const { key } = layerOf(windows);
    for (const channel of [-1, columns, 0.5, NaN]) expect(() => channelQuantile(key, channel, 0.5)).toThrowError(/channelQuantile: channel: expected an integer from 0 to 15/);
    for (const q of [-0.1, 1.1, NaN]) expect(() => channelQuantile(key, 0, q)).toThrowError(/channelQuantile: q/);
  });

  it("stay exact in sums when later windows leave the range by far, upwards and downwards", () => {
    const grown = [windows[0]!, { ...windows[1]!, k: changeRows(windows[1]!.k, (value) => value * 30 + 100) }, { ...windows[2]!, k: changeRows(windows[2]!.k, (value) => value * 50 - 900) }];
    const { key } = layerOf(grown);
    const rows = countedRows(700);
    for (let col = 0; col < columns; col++) {
      const values = grown.flatMap(({ k }) => column(k, col, rows));
      const weights = grown.flatMap(({ keyGradients }) => column(keyGradients!, col, rows).map((g) => g * g));
      const sums = (array: ArrayLike<number>): number => Array.from({ length: CHANNEL_BINS }, (_, bin) => array[col * CHANNEL_BINS + bin]!).reduce((a, b) => a + b);
      expect(sums(key.channels.count)).toBe(values.length);
      const total = weights.reduce((a, b) => a + b);
      expect(sums(key.channels.weight) / total).toBeCloseTo(1, 4);
      expect(sums(key.channels.weightedSum) / weights.reduce((sum, weight, index) => sum + weight * values[index]!, 0)).toBeCloseTo(1, 3);
      const sorted = Float64Array.from(values).sort();
      expect(Math.abs(channelQuantile(key, col, 0.3) - sorted[Math.round(0.3 * (sorted.length - 1))]!)).toBeLessThan(2 * key.channels.width[col]!);
    }
  });

  it("weigh normalised keys by F * s^2 (trap 1), leaving out what lies outside the range", () => {
    const { key } = layerOf(windows);
    const rows = countedRows(700);
    for (const fraction of [0, 0.01]) {
      const range = keyRange(key, fraction);
      const scale = range.low.map((low, col) => (range.high[col]! - low) / 2);
      const zero = range.low.map((low, col) => (range.high[col]! + low) / 2);
      const { weighted, plain } = normalisedKeys(key, range, scale, zero);
      let expected = 0;
      let firstMoment = 0;
      let inside = 0;
      for (let col = 0; col < columns; col++) {
        for (const { k, keyGradients } of windows) {
          for (const row of rows) {
            const value = k.data[row * columns + col]!;
            if (value < range.low[col]! || value > range.high[col]!) continue;
            const weight = keyGradients!.data[row * columns + col]! ** 2 * scale[col]! ** 2;
            inside++;
            expected += weight;
            firstMoment += (weight * (value - zero[col]!)) / scale[col]!;
          }
        }
      }
      // Whole bins are in or out: a bin at each end of a channel may differ.
      expect(plain.weight.reduce((a, b) => a + b) / inside).toBeCloseTo(1, 2);
      expect(weighted.weight.reduce((a, b) => a + b) / expected).toBeCloseTo(1, fraction === 0 ? 4 : 1);
      if (fraction === 0) expect(weighted.weightedSum.reduce((a, b) => a + b) / expected).toBeCloseTo(firstMoment / expected, 4);
    }
  });

  it("leave sinks out of everything: their content changes no bit, for every sensitivity (trap 2)", () => {
    for (const sensitivity of ["fisher", "attention", "none"] as const) {
      const clean = windows[0]!;
      const spoil = (matrix: Matrix): Matrix => changeRows(matrix, (value, row) => (row < 3 ? value * 1000 + 77 : value));
      const spoiled = {
        k: spoil(clean.k),
        v: spoil(clean.v),
        keyGradients: spoil(clean.keyGradients),
        valueGradients: spoil(clean.valueGradients),
        attention: {
          queries: spoil(clean.attention.queries),
          keyWeights: clean.attention.keyWeights.map((weight, index) => (index < 6 ? 1e6 : weight)),
          valueWeights: clean.attention.valueWeights.map((weight, index) => (index < 6 ? 1e6 : weight)),
        },
      };
      expect(digest(collect([spoiled], sensitivity, 3))).toBe(digest(collect([clean], sensitivity, 3)));
      expect(digest(collect([spoiled], sensitivity, 2))).not.toBe(digest(collect([clean], sensitivity, 2)));
    }
  });

  it("hold every 8th full page out of everything, up to 16, and keep it with its gradients", () => {
    const tokens = 1 + 64 * 16 + 5;
    const clean = makeWindow({ shape, tokens, seed: 8 });
    const spoil = (matrix: Matrix): Matrix => changeRows(matrix, (value, row) => (row >= 1 + 7 * 64 && row < 1 + 8 * 64 ? value * 50 : value));
    const spoiled = { ...clean, k: spoil(clean.k), v: spoil(clean.v), keyGradients: spoil(clean.keyGradients), valueGradients: spoil(clean.valueGradients) };
    const [a, b] = [layerOf([clean]), layerOf([spoiled])];
    expect(b.key).toEqual(a.key);
    expect(b.value).toEqual(a.value);
    expect(a.heldOut.map((page) => page.position)).toEqual([1 + 7 * 64, 1 + 15 * 64]);
    expect(a.tokens).toBe(tokens - 1 - 2 * 64);
    for (const [part, matrix] of [["keys", spoiled.k], ["values", spoiled.v], ["keyGradients", spoiled.keyGradients], ["valueGradients", spoiled.valueGradients]] as const) {
      const restored = decodeScaledHalves(b.heldOut[0]![part]!);
      const exact = matrix.data.subarray((1 + 7 * 64) * columns, (1 + 8 * 64) * columns);
      const largest = Math.max(...exact.map(Math.abs));
      restored.forEach((value, index) => expect(Math.abs(value - exact[index]!)).toBeLessThanOrEqual(Math.abs(exact[index]!) * 2 ** -11 + largest * 2 ** -34));
    }
    const many = layerOf(Array.from({ length: 10 }, () => clean));
    expect(many.heldOut).toHaveLength(16);
    expect(many.tokens).toBe(10 * (tokens - 1) - 16 * 64);
  });

  it("do not grow with the number of windows", () => {
    const size = (count: number): number => encodeStatistics(collect(Array.from({ length: count }, (_, index) => makeWindow({ shape, tokens: 200, seed: index })))).length;
    expect(Math.abs(size(12) - size(1))).toBeLessThan(64);
  });

  it("sum g g' of the keys' gradients into H", () => {
    const { key } = layerOf(windows.slice(0, 1));
    const { keyGradients } = windows[0]!;
    for (let head = 0; head < 2; head++) {
      for (let i = 0; i < 8; i++) {
        for (let j = 0; j < 8; j++) {
          const expected = countedRows(700).reduce((sum, row) => sum + keyGradients.data[row * columns + head * 8 + i]! * keyGradients.data[row * columns + head * 8 + j]!, 0);
          expect(key.feedback![head * 64 + i * 8 + j]! / 1e-3).toBeCloseTo(expected / 1e-3, 10);
        }
      }
    }
  });

  it("sum (R q)(R q)' over queries, the group's heads and distances 0, 1, 2, 4 .. 1,024 into H without gradients", () => {
    const { key } = layerOf(windows.slice(0, 1), "attention");
    const { queries } = windows[0]!.attention;
    const tables = createRope(rope).tables(0, 1025, 1025);
    expect(FEEDBACK_DISTANCES).toEqual([0, ...Array.from({ length: 11 }, (_, power) => 2 ** power)]);
    const expected = new Float64Array(2 * 64);
    for (const distance of FEEDBACK_DISTANCES) {
      for (const row of countedRows(700)) {
        const q = applyRope(queries.data.slice(row * 32, (row + 1) * 32), tables, { rows: 1, heads: 4, headDim: 8, rotaryDim: 6, pairing: "half", offset: distance });
        for (let head = 0; head < 4; head++) {
          for (let i = 0; i < 8; i++) for (let j = 0; j < 8; j++) expected[Math.floor(head / 2) * 64 + i * 8 + j]! += q[head * 8 + i]! * q[head * 8 + j]!;
        }
      }
    }
    key.feedback!.forEach((value, index) => expect(Math.abs(value - expected[index]!)).toBeLessThan(1e-4 * expected[0]!));
  });

  it("know the range of keys after RoPE", () => {
    const { key } = layerOf(windows.slice(0, 1));
    const { k } = windows[0]!;
    const rotated = applyRope(k.data.slice(), createRope(rope).tables(0, 700, 700), { rows: 700, heads: 2, headDim: 8, rotaryDim: 6, pairing: "half" });
    for (let col = 0; col < columns; col++) {
      const values = column({ data: rotated, rows: 700, cols: columns }, col, countedRows(700));
      expect(key.rotatedMinimum[col]).toBe(Math.min(...values));
      expect(key.rotatedMaximum[col]).toBe(Math.max(...values));
    }
  });

  it("weigh keys by probability times query energy of the RoPE pair, and values by p^2, without gradients", () => {
    const window = windows[0]!;
    const { key, value } = layerOf([window], "attention");
    const rows = countedRows(700);
    const { queries, keyWeights, valueWeights } = window.attention;
    const energy = (head: number, channel: number): number => [2 * head, 2 * head + 1].flatMap((q) => column(queries, q * 8 + channel, rows)).reduce((sum, q) => sum + q * q, 0) / (2 * rows.length);
    for (const [head, channel, pair] of [[0, 1, [1, 4]], [1, 5, [2, 5]], [1, 7, [7]]] as const) {
      const mean = pair.reduce((sum, member) => sum + energy(head, member), 0) / pair.length;
      const expected = rows.reduce((sum, row) => sum + keyWeights[row * 2 + head]!, 0) * mean;
      const col = head * 8 + channel;
      const total = key.channels.weight.subarray(col * CHANNEL_BINS, (col + 1) * CHANNEL_BINS).reduce((a, b) => a + b);
      expect(total / expected).toBeCloseTo(1, 4);
    }
    let expected = 0;
    for (const row of rows) {
      const token = window.v.data.slice(row * columns, (row + 1) * columns);
      const scale = (Math.max(...token) - Math.min(...token)) / 2;
      for (let col = 0; col < columns; col++) expected += valueWeights[row * 2 + Math.floor(col / 8)]! * scale ** 2;
    }
    expect(value.fractions[0]!.histogram.weighted.weight.reduce((a, b) => a + b) / expected).toBeCloseTo(1, 6);
  });

  it("normalise values by what the fraction's largest deviations leave, and leave those out", () => {
    const wide: CacheShape = { layers: 1, queryHeads: 4, kvHeads: 4, headDim: 64 };
    const statistics = makeStatistics({ shape: wide, windows: 1, tokens: 100 }).layers[0]!;
    const { v, valueGradients } = makeWindow({ shape: wide, tokens: 100, seed: 1 });
    for (const [fraction, outliers] of [[0, 0], [0.005, 1], [0.01, 3]] as const) {
      const histogram = statistics.value.fractions.find((entry) => entry.fraction === fraction)!.histogram;
      let expected = 0;
      for (let row = 1; row < 100; row++) {
        const token = Array.from(v.data.slice(row * 256, (row + 1) * 256), (value, col) => ({ value, g: valueGradients.data[row * 256 + col]! }));
        const mean = token.reduce((sum, { value }) => sum + value, 0) / 256;
        const rest = token.sort((a, b) => Math.abs(a.value - mean) - Math.abs(b.value - mean)).slice(0, 256 - outliers);
        const scale = (Math.max(...rest.map(({ value }) => value)) - Math.min(...rest.map(({ value }) => value))) / 2;
        for (const { g } of rest) expected += g * g * scale * scale;
      }
      expect(histogram.plain.weight.reduce((a, b) => a + b)).toBe(99 * (256 - outliers));
      expect(histogram.weighted.weight.reduce((a, b) => a + b) / expected).toBeCloseTo(1, 5);
    }
  });

  it("know mean and deviation of rotated values", () => {
    const { value } = layerOf(windows.slice(0, 1));
    const { v } = windows[0]!;
    const rows = countedRows(700);
    for (const [head, k] of [[0, 0], [1, 3], [1, 6]] as const) {
      const y = rows.map((row) => Array.from({ length: 8 }, (_, i) => v.data[row * columns + head * 8 + i]! * ((i & k).toString(2).replaceAll("0", "").length % 2 ? -1 : 1)).reduce((a, b) => a + b) / Math.sqrt(8));
      const mean = y.reduce((a, b) => a + b) / y.length;
      expect(value.rotatedMean[head * 8 + k]).toBeCloseTo(mean, 5);
      expect(value.rotatedDeviation[head * 8 + k]).toBeCloseTo(Math.sqrt(y.reduce((sum, x) => sum + (x - mean) ** 2, 0) / y.length), 5);
    }
  });

  it("normalise keys by the range of their own page", () => {
    const { key } = layerOf(windows.slice(0, 1));
    const { k, keyGradients } = windows[0]!;
    let expected = 0;
    let count = 0;
    // 10 full pages; page 7 is held out, the rest of 59 tokens is no page.
    for (let page = 0; page < 10; page++) {
      if (page === 7) continue;
      const rows = Array.from({ length: 64 }, (_, token) => 1 + page * 64 + token);
      for (let col = 0; col < columns; col++) {
        const values = column(k, col, rows);
        const scale = (Math.max(...values) - Math.min(...values)) / 2;
        for (const g of column(keyGradients, col, rows)) expected += g * g * scale * scale;
        count += 64;
      }
    }
    expect(key.pages.plain.weight.reduce((a, b) => a + b)).toBe(count);
    expect(key.pages.weighted.weight.reduce((a, b) => a + b) / expected).toBeCloseTo(1, 5);
    // Each page and channel has a value at either end.
    expect(key.pages.plain.weight[0]).toBeGreaterThanOrEqual(9 * columns);
    expect(key.pages.plain.weight.at(-1)).toBeGreaterThanOrEqual(9 * columns);
  });
});

describe("the collector", () => {
  const good = makeWindow({ shape, tokens: 100, seed: 4 });

  it("refuses NaN, wrong shapes and missing sensitivities, and stays as it was", () => {
    const collector = createStatisticsCollector({ shape, rope, sinkTokens: 1, sensitivity: "fisher" });
    collector.add(0, good);
    const bad: [string, LayerWindow][] = [
      ["NaN", { ...good, v: changeRows(good.v, (value, row) => (row === 50 ? Number.NaN : value)) }],
      ["infinite gradient", { ...good, keyGradients: changeRows(good.keyGradients, (value, row) => (row === 99 ? Number.POSITIVE_INFINITY : value)) }],
      ["fewer values than keys", { ...good, v: makeMatrix(99, columns, () => 0) }],
      ["no gradients", { k: good.k, v: good.v }],
    ];
    for (const [, window] of bad) expect(() => collector.add(0, window)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => collector.add(1, good)).toThrowError(/layer/);
    expect(digest(collector.finish())).toBe(digest(collect([good])));
    expect(() => collector.add(0, good)).toThrowError(expect.objectContaining({ code: "DISPOSED" }));
  });

  it("refuses to finish with nothing but sinks, or layers that saw different windows", () => {
    const two = { ...shape, layers: 2 };
    const collector = createStatisticsCollector({ shape: two, rope, sinkTokens: 1, sensitivity: "none" });
    collector.add(0, makeWindow({ shape, tokens: 1, seed: 1 }));
    expect(() => collector.finish()).toThrowError(/layer 0: expected at least one token/);
    collector.add(0, good);
    collector.add(1, good);
    expect(() => collector.finish()).toThrowError(/layer 1/);
  });

  it("takes windows of any length from 0 on", () => {
    const collector = createStatisticsCollector({ shape, rope, sinkTokens: 1, sensitivity: "attention" });
    for (const tokens of [0, 1, 2, 64, 65, 66, 129]) collector.add(0, makeWindow({ shape, tokens, seed: tokens }));
    expect(collector.finish().layers[0]!.tokens).toBe(1 + 63 + 64 + 65 + 128);
  });
});

describe("the statistics file", () => {
  const small = collect([makeWindow({ shape, tokens: 600, seed: 6 })]);
  const bytes = encodeStatistics(small);

  it("gives every number back, for every sensitivity", () => {
    for (const sensitivity of ["fisher", "attention", "none"] as const) {
      const statistics = collect([makeWindow({ shape, tokens: 600, seed: 6 })], sensitivity);
      const restored = decodeStatistics(encodeStatistics(statistics));
      expect(digest(restored)).toBe(digest(statistics));
      const [before, after] = [statistics.layers[0]!, restored.layers[0]!];
      expect({ ...after.key, channels: after.key.channels.lower, pages: after.key.pages.weighted.weight.length }).toEqual({ ...before.key, channels: before.key.channels.lower, pages: 4096 });
      expect(channelQuantile(after.key, 3, 0.4)).toBe(channelQuantile(before.key, 3, 0.4));
      expect(after.heldOut).toEqual(before.heldOut);
    }
  });

  it("refuses descriptions that make no sense under a right checksum, with CORRUPT_DATA", () => {
    const layer = small.layers[0]!;
    const page = layer.heldOut[0]!;
    const withLayer = (change: Partial<LayerStatistics>): CalibrationStatistics => ({ ...small, layers: [{ ...layer, ...change }] });
    const broken: CalibrationStatistics[] = [
      { ...small, sensitivity: "guessed" as Sensitivity },
      { ...small, sensitivity: "attention" },
      { ...small, sinkTokens: 65 },
      { ...small, windows: 0 },
      { ...small, shape: { ...shape, layers: 2 } },
      { ...small, shape: { ...shape, kvHeads: 4 } },
      { ...small, rope: { ...rope, scaling: { type: "linear" } as RopeConfig["scaling"] } },
      withLayer({ tokens: 0 }),
      withLayer({ heldOut: [{ ...page, window: -1 }] }),
      withLayer({ heldOut: [{ ...page, position: 0.5 }] }),
      withLayer({ heldOut: [{ ...page, keys: { ...page.keys, scale: NaN } }] }),
      withLayer({ heldOut: [{ ...page, keys: { ...page.keys, bits: page.keys.bits.subarray(1) } }] }),
      withLayer({ key: { ...layer.key, minimum: layer.key.minimum.subarray(1) } }),
    ];
    for (const statistics of broken) expect(() => decodeStatistics(encodeStatistics(statistics))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
  });

  it("refuses cut and changed files with CORRUPT_DATA", () => {
    const normal = normalNumbers(3);
    for (let attempt = 0; attempt < 60; attempt++) {
      const place = Math.min(bytes.length - 1, Math.floor(Math.abs(normal()) * bytes.length * 0.4));
      const changed = bytes.slice();
      changed[place]! ^= 1 << attempt % 8;
      expect(() => decodeStatistics(changed)).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
      expect(() => decodeStatistics(bytes.subarray(0, place))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    }
  });
});
