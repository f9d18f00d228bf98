import { linear } from "@kvquant/packing";
import { midpoints, uniformOnGrid } from "@kvquant/codebook";
import { decodePageOutliers } from "@kvquant/sparse";
import type { BlockCodec, EncodedBlock, Matrix, QuantizerArtifact } from "@kvquant/spec";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32 } from "../artifact/crc32.js";
import { keyRange, normalisedKeys } from "../calibration/key-range.js";
import { channelOfCode } from "../geometry.js";
import { finiteHalf } from "../numeric/half-array.js";
import { applyHadamard, hadamardBlock } from "../numeric/hadamard.js";
import { parsePreset } from "../preset.js";
import type { Quantizer } from "../quantizer.js";
import { makeMatrix, makePage, makeStatistics, randomNumbers } from "../testing/index.js";
import { channelKeys } from "./channel-keys.js";
import { headPacking } from "./head-packing.js";
import { pageKeys } from "./page-keys.js";
import { rotatedValues } from "./rotated-values.js";
import { tokenValues } from "./token-values.js";

function decode(codec: BlockCodec, x: Matrix): Float32Array {
  const out = makeMatrix(x.rows, x.cols, () => Number.NaN);
  codec.decode(codec.encode(x), out);
  return out.data;
}

/** An artifact made by rule instead of by fitting, so that golden bytes depend on the codec alone. */
function ruled(kind: "channel" | "page" | "token" | "rotated", bits: 2 | 3 | 4, extra: { outliers?: boolean; feedback?: boolean } = {}): QuantizerArtifact {
  const kvHeads = 2;
  const headDim = 32;
  const columns = kvHeads * headDim;
  const random = randomNumbers(bits);
  const halves = (length: number, low: number, high: number): Float32Array => Float32Array.from({ length }, () => finiteHalf(low + (high - low) * random()));
  const levels = uniformOnGrid(bits);
  const shared = { geometry: Float32Array.of(kvHeads, headDim, headDim), levels, midpoints: midpoints(levels) };
  const scale = halves(columns, 0.5, 1);
  const zero = halves(columns, -0.5, 0.5);
  const feedbackOrder = Float32Array.from({ length: columns }, (_, index) => (7 * index + 3) % headDim);
  const feedback = extra.feedback ? { feedbackOrder, feedbackWeights: halves((columns * (headDim - 1)) / 2, -0.1, 0.1) } : {};
  const side = kind === "channel" || kind === "page" ? "key" : "value";
  const packing = headPacking(side, bits, headDim).id;
  switch (kind) {
    case "channel": {
      const low = scale.map((s, index) => zero[index]! - s);
      const high = scale.map((s, index) => zero[index]! + s);
      const stages = [...(extra.outliers ? ["outliers:channel"] : []), "normalize:channel", ...(extra.feedback ? ["feedback"] : [])];
      return { id: "kvquant/channel-keys", bits, packing, stages, arrays: { ...shared, scale, zero, low, high, ...feedback } };
    }
    case "page":
      return { id: "kvquant/page-keys", bits, packing, stages: ["normalize:page", ...(extra.feedback ? ["feedback"] : [])], arrays: { ...shared, scale, zero, ...feedback } };
    case "token":
      return { id: "kvquant/token-values", bits, packing, stages: ["normalize:token"], arrays: { ...shared, outliers: Float32Array.of(extra.outliers ? 2 : 0) } };
    case "rotated":
      return { id: "kvquant/rotated-values", bits, packing, stages: ["hadamard"], arrays: { ...shared, mean: zero, deviation: scale } };
  }
}

function goldenPage(rows: number): Matrix {
  const random = randomNumbers(42);
  return makeMatrix(rows, 64, () => random() + random() - 1 + (random() < 0.02 ? 2 : 0));
}

describe("golden blocks", () => {
  // [name, codec, CRC-32 of a full page's bytes, CRC-32 of a page of 37 tokens]; made by this code and frozen: a change of these bytes is a change of format.
  const golden: [string, BlockCodec, string, string][] = [
    ["channel keys, 3 bits", channelKeys({ bits: 3 }).open(ruled("channel", 3)), "f21b3a15", "66d8b7ec"],
    ["channel keys, 4 bits, outliers, feedback", channelKeys({ bits: 4 }).open(ruled("channel", 4, { outliers: true, feedback: true })), "b4327313", "86b24715"],
    ["page keys, 2 bits, feedback", pageKeys({ bits: 2 }).open(ruled("page", 2, { feedback: true })), "99bc11cd", "1a824040"],
    ["page keys, 3 bits", pageKeys({ bits: 3 }).open(ruled("page", 3)), "68784f5a", "8eaa2143"],
    ["token values, 3 bits", tokenValues({ bits: 3 }).open(ruled("token", 3)), "9fdcb2a8", "40eea52b"],
    ["token values, 4 bits, outliers", tokenValues({ bits: 4 }).open(ruled("token", 4, { outliers: true })), "26c616e7", "4e20c29b"],
    ["rotated values, 3 bits", rotatedValues({ bits: 3 }).open(ruled("rotated", 3)), "3584ec5f", "b4557083"],
    ["rotated values, 2 bits", rotatedValues({ bits: 2 }).open(ruled("rotated", 2)), "b25214b6", "57241ef2"],
  ];
  for (const [name, codec, full, partial] of golden) {
    it(`${name} stay what they were`, () => {
      expect([64, 37].map((rows) => crc32(codec.encode(goldenPage(rows)).bytes).toString(16))).toEqual([full, partial]);
    });
  }
});

describe("block layout", () => {
  it("is what the drawing says: codes and side data of every head, the tokens' numbers, the outliers of every head", () => {
    const columns = 64;
    const x = goldenPage(64);
    const codes = (2 * 64 * 32 * 3) / 8;
    expect(channelKeys({ bits: 3 }).open(ruled("channel", 3)).encode(x).bytes.length).toBe(codes);
    expect(pageKeys({ bits: 3 }).open(ruled("page", 3)).encode(x).bytes.length).toBe(codes + 2 * 64);
    expect(tokenValues({ bits: 3 }).open(ruled("token", 3)).encode(x).bytes.length).toBe(codes + 2 * 128);
    expect(rotatedValues({ bits: 3 }).open(ruled("rotated", 3)).encode(x).bytes.length).toBe(codes + 128);
    const outliers = tokenValues({ bits: 3 }).open(ruled("token", 3, { outliers: true })).encode(x).bytes.length;
    // 2 outliers a token: 3 bytes each, 32 bytes of counts a head, up to 3 bytes of padding a head.
    expect(outliers - (codes + 2 * 128 + 2 * 32 + 64 * 2 * 3)).toBeGreaterThanOrEqual(0);
    expect(outliers - (codes + 2 * 128 + 2 * 32 + 64 * 2 * 3)).toBeLessThan(8);
    expect(columns).toBe(x.cols);
  });

  it("places the outliers last, so that what comes before them lies where it does without", () => {
    const x = goldenPage(64);
    const withOutliers = channelKeys({ bits: 3 }).open(ruled("channel", 3, { outliers: true })).encode(x).bytes;
    const without = channelKeys({ bits: 3 }).open(ruled("channel", 3)).encode(x).bytes;
    expect(withOutliers.subarray(0, without.length)).toEqual(without);
    const first = decodePageOutliers(withOutliers, without.length);
    const second = decodePageOutliers(withOutliers, without.length + first.byteLength);
    expect(first.entries.indices.length).toBeGreaterThan(0);
    expect(without.length + first.byteLength + second.byteLength).toBe(withOutliers.length);
  });

  it("has zeros for the numbers of missing tokens, and refuses others", () => {
    for (const codec of [tokenValues({ bits: 3 }).open(ruled("token", 3)), rotatedValues({ bits: 3 }).open(ruled("rotated", 3))]) {
      const block = codec.encode(goldenPage(37));
      const bytes = block.bytes.slice();
      bytes[bytes.length - 2 * 27]! ^= 1;
      expect(() => codec.decode({ ...block, bytes }, makeMatrix(37, 64, () => 0))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
    }
  });

  it("packs key codes in the order of RoPE pairs, plain bits where the head dim has no lanes", () => {
    const geometry = { kvHeads: 1, headDim: 24, rotaryDim: 16 };
    expect([...channelOfCode(geometry)].slice(0, 6)).toEqual([0, 8, 1, 9, 2, 10]);
    expect([...channelOfCode(geometry)].slice(15)).toEqual([15, 16, 17, 18, 19, 20, 21, 22, 23]);
    const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 24 };
    const statistics = makeStatistics({ shape, rotaryDim: 16, tokens: 300 }).layers[0]!;
    const quantizer = channelKeys({ bits: 3, levels: "uniform" });
    const artifact = quantizer.fit(statistics);
    expect(artifact.packing).toBe("linear-3");
    const { k } = makePage(shape);
    const codes = linear(3).unpack(quantizer.open(artifact).encode(k).bytes, 64 * 24);
    const decoded = decode(quantizer.open(artifact), k);
    const { scale, zero, levels } = artifact.arrays as Record<string, Float32Array>;
    const channels = channelOfCode(geometry);
    for (let token = 0; token < 64; token++) {
      for (let code = 0; code < 24; code++) {
        const channel = channels[code]!;
        expect(decoded[token * 24 + channel]).toBe(Math.fround(Math.fround(levels![codes[token * 24 + code]!]! * scale![channel]!) + zero![channel]!));
      }
    }
  });
});

describe("outliers of keys", () => {
  const artifact = ruled("channel", 3, { outliers: true });
  const codec = channelKeys({ bits: 3 }).open(artifact);
  const { scale, zero } = artifact.arrays as Record<string, Float32Array>;

  it("come back to within half a unit of fp16, without bias, wherever they lie (trap 4)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 63 }), fc.integer({ min: 0, max: 63 }), fc.double({ min: -200, max: 200, noNaN: true }), (token, column, value) => {
        const x = makeMatrix(64, 64, (_, col) => zero![col]!);
        x.data[token * 64 + column] = value;
        const decoded = decode(codec, x)[token * 64 + column]!;
        const inside = Math.abs(x.data[token * 64 + column]! - zero![column]!) <= scale![column]!;
        expect(Math.abs(decoded - x.data[token * 64 + column]!)).toBeLessThanOrEqual(inside ? scale![column]! / 7 + 0.02 : 201 * 2 ** -11);
      }),
    );
  });

  it("keep the 15 largest |x_n| of a token and head; the rest saturates and is counted (trap 3)", () => {
    const x = makeMatrix(64, 64, (row, col) => (row === 5 && col < 20 ? zero![col]! + scale![col]! * (2 + ((7 * col) % 20)) : zero![col]!));
    const block = codec.encode(x);
    expect(block.saturated).toBe(5);
    const out = makeMatrix(64, 64, () => Number.NaN);
    codec.decode(block, out);
    for (let col = 0; col < 20; col++) {
      const size = 2 + ((7 * col) % 20);
      const error = Math.abs(out.data[5 * 64 + col]! - x.data[5 * 64 + col]!);
      if (size >= 7) expect(error).toBeLessThan(0.02);
      else expect(error / scale![col]!).toBeCloseTo(size - 1, 2);
    }
  });

  it("are decided on the values as they came, not on values that feedback has moved", () => {
    const fed = channelKeys({ bits: 3 }).open(ruled("channel", 3, { outliers: true, feedback: true }));
    const inside = makeMatrix(64, 64, (row, col) => zero![col]! + 0.99 * scale![col]! * ((row + col) % 2 === 0 ? 1 : -1));
    expect(fed.encode(inside).bytes.length).toBe(codec.encode(inside).bytes.length);
    expect(fed.encode(inside).saturated).toBe(0);
  });

  it("without slots saturate at the end level and are counted", () => {
    const plain = channelKeys({ bits: 3 }).open(ruled("channel", 3));
    const x = makeMatrix(3, 64, (row, col) => zero![col]! + (row === 1 && col < 4 ? 9 : 0));
    expect(plain.encode(x).saturated).toBe(4);
  });
});

describe("values per token", () => {
  const statistics = makeStatistics({ shape: { layers: 1, queryHeads: 3, kvHeads: 3, headDim: 64 }, windows: 1, tokens: 600 }).layers[0]!;

  it("store the round(0.01 * C) largest deviations and scale by the rest", () => {
    const quantizer = tokenValues({ bits: 4, outliers: 0.01 });
    const codec = quantizer.open(quantizer.fit(statistics));
    const random = randomNumbers(9);
    const x = makeMatrix(64, 192, () => random() * 2 - 1);
    for (let token = 0; token < 64; token++) {
      x.data[token * 192 + token] = 50;
      x.data[token * 192 + 191 - token] = -70;
    }
    const decoded = decode(codec, x);
    for (let index = 0; index < x.data.length; index++) expect(Math.abs(decoded[index]! - x.data[index]!)).toBeLessThan(0.25);
  });

  it("saturate what finds no slot among the 15 of its head", () => {
    const wide = makeStatistics({ shape: { layers: 1, queryHeads: 32, kvHeads: 32, headDim: 64 }, windows: 1, tokens: 66 }).layers[0]!;
    const quantizer = tokenValues({ bits: 3, outliers: 0.01, levels: "uniform" });
    const codec = quantizer.open(quantizer.fit(wide));
    // round(0.01 * 2048) = 20 outliers, all in head 0.
    const x = makeMatrix(1, 2048, (_, col) => (col < 20 ? 100 + col : col % 3));
    const block = codec.encode(x);
    expect(block.saturated).toBe(5);
    const out = makeMatrix(1, 2048, () => Number.NaN);
    codec.decode(block, out);
    for (let col = 0; col < 20; col++) expect(out.data[col]).toBeCloseTo(col < 5 ? 2 : 100 + col, col < 5 ? 1 : 0);
  });

  it("decode a token alone as in a page, Q-Norm levels included (trap 5)", () => {
    const { v } = makePage({ layers: 1, queryHeads: 3, kvHeads: 3, headDim: 64 });
    for (const name of ["nuq2", "nuq3-1%", "kvq3"]) {
      const { value } = parsePreset(name);
      const codec = value.open(value.fit(statistics));
      const page = decode(codec, v);
      for (const token of [0, 17, 63]) {
        const alone = decode(codec, { data: v.data.slice(token * 192, (token + 1) * 192), rows: 1, cols: 192 });
        expect(alone).toEqual(page.slice(token * 192, (token + 1) * 192));
      }
    }
  });
});

describe("Q-Norm", () => {
  it("brings mean and deviation of 2-bit keys closer to the data's, on the grid, searching by the fitted levels", () => {
    const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 64 };
    const statistics = makeStatistics({ shape }).layers[0]!;
    const moved = channelKeys({ bits: 2, qNorm: true }).fit(statistics);
    const plain = channelKeys({ bits: 2 }).fit(statistics);
    expect(moved.arrays.midpoints).toEqual(plain.arrays.midpoints);
    expect(moved.arrays.levels).not.toEqual(plain.arrays.levels);
    for (const level of moved.arrays.levels!) expect(Math.abs(level * 127 - Math.round(level * 127))).toBeLessThan(1e-4);
    const { scale, zero } = plain.arrays as Record<string, Float32Array>;
    const { plain: histogram } = normalisedKeys(statistics.key, keyRange(statistics.key, 0), scale!, zero!);
    const moments = (value: (x: number) => number): { mean: number; deviation: number } => {
      let [count, sum, squares] = [0, 0, 0];
      histogram.weight.forEach((weight, bin) => {
        const x = weight > 0 ? value(histogram.weightedSum[bin]! / weight) : 0;
        count += weight;
        sum += weight * x;
        squares += weight * x * x;
      });
      return { mean: sum / count, deviation: Math.sqrt(squares / count - (sum / count) ** 2) };
    };
    const data = moments((x) => x);
    const quantised = ({ arrays }: QuantizerArtifact): { mean: number; deviation: number } => moments((x) => arrays.levels![arrays.midpoints!.filter((middle) => middle < x).length]!);
    // Half a step of the grid is what putting the levels back on it may cost.
    expect(Math.abs(quantised(moved).mean - data.mean)).toBeLessThan(0.5 / 127);
    expect(Math.abs(quantised(moved).deviation - data.deviation)).toBeLessThan(0.5 / 127);
    expect(Math.abs(quantised(plain).deviation - data.deviation)).toBeGreaterThan(1 / 127);
  });
});

describe("page-local key scales", () => {
  const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 16 };
  const statistics = makeStatistics({ shape }).layers[0]!;
  const quantizer = pageKeys({ bits: 4, feedback: false });
  const artifact = quantizer.fit(statistics);
  const codec = quantizer.open(artifact);
  const { scale: a, zero: z } = artifact.arrays as Record<string, Float32Array>;

  it("are the rounded logarithm of the recipe, for every page range", () => {
    fc.assert(
      fc.property(fc.double({ min: -1, max: 1, noNaN: true }), fc.double({ min: -11, max: 3.5, noNaN: true }), (offset, exponent) => {
        const channel = 3;
        const half = a![channel]! * 2 ** exponent;
        const middle = z![channel]! + a![channel]! * offset;
        const x = makeMatrix(64, 16, (row, col) => (col === channel ? middle + (row % 2 === 0 ? half : -half) : 0));
        const [high, low] = [x.data[channel]!, x.data[16 + channel]!];
        const { bytes } = codec.encode(x);
        const code = Array.from(channelOfCode({ kvHeads: 1, headDim: 16, rotaryDim: 16 })).indexOf(channel);
        const side = (64 * 16 * 4) / 8;
        const n = Math.round((64 * (Math.fround((high + low) / 2) - z![channel]!)) / a![channel]!);
        const e = Math.round(16 * Math.log2((high - low) / 2 / a![channel]!));
        expect(Math.abs(bytes[side + 16 + code]! - (n + 128))).toBeLessThanOrEqual(Math.abs((64 * offset) % 1) > 0.49 && Math.abs((64 * offset) % 1) < 0.51 ? 1 : 0);
        const nearTie = Math.abs(((16 * exponent) % 1) + (exponent < 0 ? 0.5 : -0.5)) < 0.01;
        expect(Math.abs(bytes[side + code]! - (e + 192))).toBeLessThanOrEqual(nearTie ? 1 : 0);
      }),
    );
  });

  it("follow a page that leaves the calibrated range, and count what had to be clamped", () => {
    const wide = makeMatrix(64, 16, (row, col) => z![col]! + a![col]! * 6 * Math.sin(row + col));
    expect(codec.encode(wide).clamped).toBe(0);
    const decoded = decode(codec, wide);
    for (let index = 0; index < decoded.length; index++) expect(Math.abs(decoded[index]! - wide.data[index]!)).toBeLessThan(6 * a![index % 16]! * 0.1);
    const far = makeMatrix(64, 16, (row, col) => z![col]! + a![col]! * (20 + Math.sin(row)));
    expect(codec.encode(far).clamped).toBe(16);
    expect(codec.encode(makeMatrix(64, 16, (_, col) => z![col]!)).clamped).toBe(0);
  });
});

describe("rotated values", () => {
  it("rotate by an orthonormal symmetric matrix that undoes itself, in blocks of the largest power of two", () => {
    expect([64, 80, 96, 128, 256, 24].map(hadamardBlock)).toEqual([64, 16, 32, 128, 256, 8]);
    const random = randomNumbers(1);
    const x = Float32Array.from({ length: 80 }, () => random() - 0.5);
    const y = applyHadamard(x.slice(), 16);
    for (let row = 0; row < 16; row++) {
      // Entry (row, col) of Sylvester's matrix is the parity of row & col.
      const expected = x.slice(0, 16).reduce((sum, value, col) => sum + value * ((row & col).toString(2).replaceAll("0", "").length % 2 ? -1 : 1), 0) / 4;
      expect(y[row]).toBeCloseTo(expected, 6);
    }
    applyHadamard(y, 16);
    for (let index = 0; index < 80; index++) expect(y[index]).toBeCloseTo(x[index]!, 6);
  });

  it("have the error of the Lloyd-Max quantizer on normal data", () => {
    const shape = { layers: 1, queryHeads: 3, kvHeads: 3, headDim: 64 };
    const statistics = makeStatistics({ shape, windows: 1, tokens: 600 }).layers[0]!;
    const { v } = makePage(shape);
    // Max 1960: mean squared error of 2, 3 and 4 bits on N(0, 1), with room for outliers and the grid.
    for (const [bits, published] of [[2, 0.1175], [3, 0.03454], [4, 0.009497]] as const) {
      const quantizer = rotatedValues({ bits });
      const decoded = decode(quantizer.open(quantizer.fit(statistics)), v);
      let error = 0;
      let energy = 0;
      const mean = statistics.value.rotatedMean;
      const centre = Float32Array.from(mean);
      applyHadamard(centre, 64);
      for (let index = 0; index < decoded.length; index++) {
        error += (decoded[index]! - v.data[index]!) ** 2;
        energy += (v.data[index]! - centre[index % 192]!) ** 2;
      }
      expect(error / energy).toBeGreaterThan(published * 0.8);
      expect(error / energy).toBeLessThan(published * 1.25);
    }
  });
});

describe("levels of rotated values", () => {
  it("shrink what they decode by the distortion, and do not when unbiased; codes are the same", () => {
    const shape = { layers: 1, queryHeads: 3, kvHeads: 3, headDim: 64 };
    const statistics = makeStatistics({ shape, windows: 1, tokens: 600 }).layers[0]!;
    const { v } = makePage(shape);
    const centre = Float32Array.from(statistics.value.rotatedMean);
    applyHadamard(centre, 64);
    /** Least-squares slope of the decoded on the true values, both seen from the mean. */
    const slope = (decoded: Float32Array): number => {
      let product = 0;
      let energy = 0;
      decoded.forEach((value, index) => {
        const own = v.data[index]! - centre[index % 192]!;
        product += own * (value - centre[index % 192]!);
        energy += own * own;
      });
      return product / energy;
    };
    // Max 1960: squared error of 2 and 3 bits on N(0, 1).
    for (const [bits, distortion] of [[2, 0.1175], [3, 0.03454]] as const) {
      const [shrunk, unbiased] = (["lloyd-max", "unbiased"] as const).map((levels) => rotatedValues({ bits, levels })).map((quantizer) => quantizer.open(quantizer.fit(statistics)));
      expect(Math.abs(slope(decode(shrunk!, v)) - (1 - distortion))).toBeLessThan(0.015);
      expect(Math.abs(slope(decode(unbiased!, v)) - 1)).toBeLessThan(0.015);
      expect(unbiased!.encode(v).bytes).toEqual(shrunk!.encode(v).bytes);
    }
  });
});

describe("artifacts", () => {
  const statistics = makeStatistics({ shape: { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 16 }, tokens: 300 }).layers[0]!;

  it("that another quantizer wrote, or whose arrays are missing, cut or not finite, are refused with CORRUPT_DATA", () => {
    const quantizer = parsePreset("nuq3-1%+fb").key;
    const artifact = quantizer.fit(statistics);
    const broken: QuantizerArtifact[] = [{ ...artifact, id: "kvquant/page-keys" }, { ...artifact, packing: "linear-3" }, { ...artifact, bits: 8 }];
    for (const name of Object.keys(artifact.arrays)) {
      const { [name]: array, ...rest } = artifact.arrays;
      broken.push({ ...artifact, arrays: rest }, { ...artifact, arrays: { ...rest, [name]: array!.slice(1) } }, { ...artifact, arrays: { ...rest, [name]: array!.map(() => Number.NaN) } });
    }
    broken.push({ ...artifact, arrays: { ...artifact.arrays, feedbackOrder: artifact.arrays.feedbackOrder!.map(() => 0) } });
    for (const candidate of broken) expect(() => quantizer.open(candidate)).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }));
  });

  it("of sizes that no cache has are refused with CORRUPT_DATA, before anything is allocated for them", () => {
    const fitted = [channelKeys({ bits: 3 }), pageKeys({ bits: 3, feedback: false }), tokenValues({ bits: 3 }), rotatedValues({ bits: 3 })].map((quantizer) => ({ quantizer, artifact: quantizer.fit(statistics) }));
    for (const [kvHeads, headDim, rotaryDim] of [[2 ** 24, 65_528, 8], [2 ** 40, 8, 8], [1, 65_552, 8], [1, 2 ** 24, 8], [1, 12, 8], [1, 16, 7], [1, 16, 18], [0, 16, 16], [1.5, 16, 16]] as const) {
      for (const { quantizer, artifact } of fitted) {
        const packing = headDim % 16 === 0 ? `${quantizer.side}-lanes-3x${headDim}` : "linear-3";
        const broken = { ...artifact, packing, arrays: { ...artifact.arrays, geometry: Float32Array.of(kvHeads, headDim, rotaryDim) } };
        expect(() => quantizer.open(broken)).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringContaining("geometry") as string }));
      }
    }
  });

  it("with a scale too small among very many are refused with CORRUPT_DATA too", () => {
    const columns = 4 * 65_536;
    for (const [quantizer, arrays, message] of [
      [pageKeys({ bits: 3, feedback: false }), { scale: new Float32Array(columns).fill(1), zero: new Float32Array(columns) }, /scale: expected numbers of at least 2\^-14, got 0$/],
      [rotatedValues({ bits: 3 }), { deviation: new Float32Array(columns).fill(1), mean: new Float32Array(columns) }, /deviation: expected numbers of at least 2\^-14, got 0$/],
    ] as const) {
      Object.values(arrays)[0]![5] = 0;
      const artifact = quantizer.fit(statistics);
      const broken = { ...artifact, packing: `${quantizer.side}-lanes-3x65536`, arrays: { ...artifact.arrays, geometry: Float32Array.of(4, 65_536, 8), ...arrays } };
      expect(() => quantizer.open(broken)).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringMatching(message) as string }));
    }
  });

  it("hold levels on the grid k/127 and fp16 scales only", () => {
    for (const name of ["nuq4", "nuq3-1%", "nuq2", "kvq2", "kvq4"]) {
      const { key, value } = parsePreset(name);
      for (const { arrays } of [key.fit(statistics), value.fit(statistics)]) {
        for (const level of arrays.levels!) expect(Math.abs(level * 127 - Math.round(level * 127))).toBeLessThan(1e-4);
        for (const table of ["scale", "zero", "feedbackWeights", "mean", "deviation"]) for (const number of arrays[table] ?? []) expect(finiteHalf(number)).toBe(number);
      }
    }
  });

  it("of keys take their range from the calibrated quantiles", () => {
    const { low, high } = keyRange(statistics.key, 0.01);
    const { arrays } = channelKeys({ bits: 3, outliers: 0.01 }).fit(statistics);
    expect(arrays.low).toEqual(low);
    expect(arrays.high).toEqual(high);
  });
});

describe("finite pages whose sums are not", () => {
  it("are refused, or encoded to blocks that decode: never to a block that no reader takes", () => {
    const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 64 };
    const statistics = makeStatistics({ shape, tokens: 200, windows: 1 }).layers[0]!;
    const pages = [makeMatrix(64, 64, (row, col) => ((row + col) % 2 === 0 ? 3e38 : -3e38)), makeMatrix(64, 64, () => 3e38), makeMatrix(64, 64, (row, col) => (row === 3 && col === 5 ? 3e38 : 0.1))];
    let refused = 0;
    for (const name of ["nuq3", "nuq3-1%+fb", "kvq3", "keys-token-post", "int4-token", "q4_0+rot", "q5_1+rot", "turbo3", "kvarn3"]) {
      for (const quantizer of Object.values(parsePreset(name)).filter((part): part is Quantizer => typeof part === "object")) {
        const codec = quantizer.open(quantizer.fit(statistics));
        for (const page of pages) {
          let block: EncodedBlock;
          try {
            block = codec.encode(page);
          } catch (error) {
            expect(error).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/within fp32.*scale them down/) as string });
            refused++;
            continue;
          }
          const out = makeMatrix(64, 64, () => Number.NaN);
          codec.decode(block, out);
          expect(out.data.every(Number.isFinite)).toBe(true);
        }
      }
    }
    expect(refused).toBeGreaterThan(0);
  });
});

describe("blocks from elsewhere", () => {
  it("never decode outside their bytes: random bytes and flipped bytes decode or are refused with CORRUPT_DATA", () => {
    const codecs = [
      channelKeys({ bits: 4 }).open(ruled("channel", 4, { outliers: true, feedback: true })),
      tokenValues({ bits: 4 }).open(ruled("token", 4, { outliers: true })),
      pageKeys({ bits: 3 }).open(ruled("page", 3)),
      rotatedValues({ bits: 3 }).open(ruled("rotated", 3)),
    ];
    const out = makeMatrix(37, 64, () => 0);
    for (const codec of codecs) {
      const block = codec.encode(goldenPage(37));
      const attempt = (bytes: Uint8Array): void => {
        try {
          codec.decode({ ...block, bytes }, out);
          expect(out.data.every(Number.isFinite)).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: "CORRUPT_DATA" });
        }
      };
      fc.assert(
        fc.property(fc.nat(block.bytes.length - 1), fc.integer({ min: 1, max: 255 }), (place, change) => {
          const bytes = block.bytes.slice();
          bytes[place]! ^= change;
          attempt(bytes);
        }),
      );
      fc.assert(fc.property(fc.uint8Array({ maxLength: 3000 }), attempt), { numRuns: 30 });
    }
  });
});
