import { fitOnGrid, uniformLevels } from "@kvquant/codebook";
import { linear } from "@kvquant/packing";
import type { Matrix } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { keyRange, normalisedKeys } from "../calibration/key-range.js";
import { hadamard, nonUniform, normalize, outliers, staged, uniform } from "../index.js";
import type { FitContext, Stage } from "../index.js";
import { valueHistogram } from "../quantizers/token-values.js";
import { makeMatrix, makeStatistics } from "../testing/index.js";

const CORRUPT = expect.objectContaining({ code: "CORRUPT_DATA" }) as unknown as Error;
const UNSUPPORTED = expect.objectContaining({ code: "UNSUPPORTED" }) as unknown as Error;
const INVALID = expect.objectContaining({ code: "INVALID_ARGUMENT" }) as unknown as Error;

const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 8 };
const layer = () => makeStatistics({ shape, tokens: 200, windows: 1 }).layers[0]!;
const start = (side: "key" | "value", more: Partial<FitContext> = {}): FitContext => ({ statistics: layer(), side, outlierFraction: 0, mixed: false, ...more });

/** Rows of a matrix, written out. */
function matrix(rows: number[][]): Matrix {
  return makeMatrix(rows.length, rows[0]!.length, (row, col) => rows[row]![col]!);
}

/** Little-endian 16-bit numbers. */
const words = (...numbers: number[]): Uint8Array => Uint8Array.from(numbers.flatMap((number) => [number & 255, number >>> 8]));

describe("normalize by channel", () => {
  const stage = () => normalize({ axis: "channel" });
  const parameters = { scale: Float32Array.of(2, 0, 0.5), zero: Float32Array.of(1, 7, -1) };

  it("takes each channel's calibrated middle and half range, and tells the coder the distribution", () => {
    const context = start("key");
    const { parameters: fitted, context: after } = stage().fit(context);
    const range = keyRange(context.statistics.key, 0);
    for (let channel = 0; channel < 8; channel++) {
      expect(Math.abs(fitted["scale"]![channel]! / ((range.high[channel]! - range.low[channel]!) / 2) - 1)).toBeLessThan(2 ** -10);
      expect(Math.abs(fitted["zero"]![channel]! - (range.high[channel]! + range.low[channel]!) / 2)).toBeLessThan(2 ** -8);
    }
    expect(after.histogram).toEqual(normalisedKeys(context.statistics.key, range, fitted["scale"]!, fitted["zero"]!));
  });

  it("takes the range that earlier stages leave", () => {
    const range = { low: new Float32Array(8).fill(-3), high: new Float32Array(8).fill(5) };
    expect(stage().fit(start("key", { range })).parameters).toEqual({ scale: new Float32Array(8).fill(4), zero: new Float32Array(8).fill(1) });
  });

  it("subtracts and divides, and a channel without a range becomes 0; decoding undoes it", () => {
    const x = matrix([[3, 7, -0.5], [-1, 9, -1.25]]);
    expect(stage().forward(x, parameters)).toEqual({ bytes: new Uint8Array(0) });
    expect([...x.data]).toEqual([1, 0, 1, -1, 0, -0.5]);
    stage().inverse(x, new Uint8Array(0), parameters);
    expect([...x.data]).toEqual([3, 7, -0.5, -1, 7, -1.25]);
  });

  it("refuses values, rotated keys, side data and arrays of another length", () => {
    for (const context of [start("value"), start("key", { mixed: true })]) expect(() => stage().fit(context)).toThrow(UNSUPPORTED);
    expect(() => stage().inverse(matrix([[0, 0, 0]]), new Uint8Array(1), parameters)).toThrow(CORRUPT);
    for (const name of ["scale", "zero"]) {
      const short = { ...parameters, [name]: Float32Array.of(1, 1) };
      expect(() => stage().forward(matrix([[0, 0, 0]]), short)).toThrow(CORRUPT);
      expect(() => stage().inverse(matrix([[0, 0, 0]]), new Uint8Array(0), short)).toThrow(CORRUPT);
      expect(() => stage().forward(matrix([[0, 0, 0]]), { ...parameters, [name]: Float32Array.of(1, NaN, 1) })).toThrow(CORRUPT);
    }
    expect(() => stage().forward(matrix([[0, 0, 0]]), { scale: parameters.scale })).toThrow(CORRUPT);
  });
});

describe("normalize by token", () => {
  const stage = () => normalize({ axis: "token" });

  it("stores half the range and the middle of each row as halves, and codes what they leave", () => {
    const x = matrix([[-1, 3, 0], [5, 5, 5]]);
    const { bytes } = stage().forward(x, {});
    // Scales 2 and 0, then middles 1 and 5.
    expect(bytes).toEqual(words(0x4000, 0, 0x3c00, 0x4500));
    expect([...x.data]).toEqual([-1, 1, -0.5, 0, 0, 0]);
    stage().inverse(x, bytes, {});
    expect([...x.data]).toEqual([-1, 3, 0, 5, 5, 5]);
  });

  it("divides by what decoding will multiply by", () => {
    const x = matrix([[0, 0.2]]);
    stage().forward(x, {});
    const half = 0.0999755859375; // of 0.1
    expect(x.data[1]).toBe(Math.fround((Math.fround(0.2) - half) / half));
  });

  it("knows the distribution of values alone, before a rotation, with a fraction of outliers that calibration counted", () => {
    const { statistics } = start("value");
    for (const outlierFraction of [0, 0.01]) expect(stage().fit(start("value", { outlierFraction })).context).toEqual({ histogram: valueHistogram(statistics, outlierFraction) });
    for (const context of [start("key"), start("value", { mixed: true }), start("value", { outlierFraction: 0.02 })]) expect(stage().fit(context)).toEqual({ parameters: {}, context: { histogram: undefined } });
  });

  it("refuses side data of another length, and numbers that are not finite", () => {
    for (const bytes of [words(0, 0, 0), words(0, 0, 0, 0, 0), words(0, 0x7c00, 0, 0), words(0, 0, 0, 0x7e00)]) expect(() => stage().inverse(matrix([[0], [0]]), bytes, {})).toThrow(CORRUPT);
  });
});

describe("outliers", () => {
  it("by token are the largest deviations from the row's mean, clamped to the range of the others", () => {
    const stage = outliers({ axis: "token", fraction: 0.25 });
    expect(stage.fit(start("value"))).toEqual({ parameters: { count: Float32Array.of(2) }, context: { outlierFraction: 0.25 } });
    const x = matrix([[1, 10, 2, 0, -4, 1, 2, 0], [0, 0, 0, 0, 0, 0, 0, 3]]);
    const { bytes } = stage.forward(x, { count: Float32Array.of(2) });
    // Row 0: 10 at column 1 exceeds 2 by 8, -4 at column 4 lies 4 below 0. Row 1: 3 at column 7; the second largest deviation lies within the range of the others.
    expect(bytes).toEqual(words(2, 1, 1, 4, 7, 0x4800, 0xc400, 0x4200));
    expect([...x.data]).toEqual([1, 2, 2, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    stage.inverse(x, bytes, {});
    expect([...x.data]).toEqual([1, 10, 2, 0, -4, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
  });

  it("by channel are what lies outside the calibrated quantiles of keys, which the next stage takes for its range", () => {
    const stage = outliers({ axis: "channel", fraction: 0.02 });
    const context = start("key");
    const range = keyRange(context.statistics.key, 0.02);
    expect(stage.fit(context)).toEqual({ parameters: { low: range.low, high: range.high }, context: { outlierFraction: 0.02, range } });
    for (const other of [start("value"), start("key", { mixed: true })]) expect(() => stage.fit(other)).toThrow(UNSUPPORTED);
    const bounds = { low: Float32Array.of(-1, 0), high: Float32Array.of(1, 2) };
    const x = matrix([[-1, 2], [1.5, -1], [1, 0]]);
    const { bytes } = stage.forward(x, bounds);
    expect(bytes).toEqual(words(0, 2, 0, 0, 1, 0x3800, 0xbc00));
    expect([...x.data]).toEqual([-1, 2, 1, 0, 1, 0]);
    stage.inverse(x, bytes, {});
    expect([...x.data]).toEqual([-1, 2, 1.5, -1, 1, 0]);
    for (const name of ["low", "high"]) expect(() => stage.forward(matrix([[0, 0]]), { ...bounds, [name]: Float32Array.of(1) })).toThrow(CORRUPT);
  });

  it("are found in columns beyond 255 too", () => {
    const stage = outliers({ axis: "token", fraction: 0.001 });
    const x = makeMatrix(1, 600, (_, col) => (col === 513 ? 9 : col % 2));
    const { bytes } = stage.forward(x, { count: Float32Array.of(1) });
    expect(bytes).toEqual(words(1, 513, 0x4800));
    stage.inverse(x, bytes, {});
    expect(x.data[513]).toBe(9);
  });

  it("refuse side data that is cut off, has bytes left over or names a column that is not there", () => {
    const { inverse } = outliers({ axis: "token", fraction: 0.1 });
    const good = words(1, 0, 2, 0x3c00);
    const decode = (bytes: Uint8Array): void => inverse(matrix([[0, 0, 0], [0, 0, 0]]), bytes, {});
    expect(() => decode(good)).not.toThrow();
    for (const bytes of [good.subarray(0, 3), good.subarray(0, 6), words(1, 0, 2, 0x3c00, 0), words(1, 0, 3, 0x3c00), words(1, 0, 2, 0x7c00)]) expect(() => decode(bytes)).toThrow(CORRUPT);
  });

  it("are a fraction above 0 and below a half", () => {
    for (const fraction of [0, -0.1, 0.5, NaN]) expect(() => outliers({ axis: "token", fraction })).toThrow(INVALID);
    for (const fraction of [0.001, 0.49]) expect(outliers({ axis: "channel", fraction }).id).toBe("kvquant/outliers:channel");
  });
});

describe("a rotation", () => {
  it("is the orthonormal Hadamard matrix of each head, its own inverse, and hides the channels from later stages", () => {
    const stage = hadamard();
    expect(stage.fit(start("key", { range: keyRange(layer().key, 0) }))).toEqual({ parameters: { block: Float32Array.of(8) }, context: { mixed: true, range: undefined, histogram: undefined } });
    const block = { block: Float32Array.of(4) };
    const x = matrix([[1, 2, 3, 4, 0, 0, 0, 8]]);
    expect(stage.forward(x, block)).toEqual({ bytes: new Uint8Array(0) });
    expect([...x.data]).toEqual([5, -1, -2, 0, 4, -4, -4, 4]);
    stage.inverse(x, new Uint8Array(0), block);
    expect([...x.data]).toEqual([1, 2, 3, 4, 0, 0, 0, 8]);
    const alone = matrix([[3, -2]]);
    stage.forward(alone, { block: Float32Array.of(1) });
    expect([...alone.data]).toEqual([3, -2]);
    expect(() => stage.inverse(x, new Uint8Array(2), block)).toThrow(CORRUPT);
  });
});

describe("coders", () => {
  it("with even levels take the nearest one", () => {
    const coder = uniform({ bits: 2 });
    const parameters = coder.fit(start("key"));
    expect(parameters).toEqual({ levels: uniformLevels(2) });
    const codes = new Uint8Array(5);
    coder.encode(Float32Array.of(-2, -0.5, 0, 0.7, 1), codes, parameters);
    expect([...codes]).toEqual([0, 1, 1, 3, 3]);
    const decoded = new Float32Array(5);
    coder.decode(codes, decoded, parameters);
    expect([...decoded]).toEqual([-1, -1 / 3, -1 / 3, 1, 1].map(Math.fround));
    expect(() => coder.encode(decoded, codes, { levels: uniformLevels(3) })).toThrow(CORRUPT);
  });

  it("with learned levels fit what the stages before say of the data, up to 5 bits, and need to know it", () => {
    const { histogram } = normalize({ axis: "channel" }).fit(start("key")).context;
    expect(nonUniform({ bits: 5 }).fit(start("key", { histogram }))).toEqual({ levels: fitOnGrid(histogram!.weighted, 32) });
    expect(nonUniform({ bits: 2 }).id).toBe("kvquant/non-uniform");
    expect(() => nonUniform({ bits: 8 })).toThrow(INVALID);
    expect(() => nonUniform({ bits: 2 }).fit(start("key"))).toThrow(UNSUPPORTED);
  });
});

describe("a quantizer of stages", () => {
  const parts = () => ({ id: "my/keys", side: "key" as const, stages: [normalize({ axis: "channel" })], coder: uniform({ bits: 4 }), packing: linear(4) });

  it("is refused with a packing of another width, or the name space of this project", () => {
    expect(() => staged({ ...parts(), packing: linear(3) })).toThrow(INVALID);
    expect(() => staged({ ...parts(), id: "kvquant/mine" })).toThrow(INVALID);
    expect(staged({ ...parts(), id: "my/kvquant/" }).frame).toBe("pre-rope");
  });

  it("gets no statistics of channels for keys after RoPE", () => {
    expect(() => staged({ ...parts(), frame: "post-rope" }).fit(layer())).toThrow(UNSUPPORTED);
  });

  it("opens only what it wrote itself", () => {
    const quantizer = staged(parts());
    const artifact = quantizer.fit(layer());
    expect(artifact).toMatchObject({ id: "my/keys", bits: 4, packing: linear(4).id, stages: ["kvquant/normalize:channel", "kvquant/uniform"] });
    expect(Object.keys(artifact.arrays).sort()).toEqual(["0.scale", "0.zero", "coder.levels", "geometry"]);
    for (const change of [{ id: "my/others" }, { stages: ["kvquant/uniform"] }, { packing: "linear-3" }]) expect(() => quantizer.open({ ...artifact, ...change })).toThrow(CORRUPT);
  });

  it("writes each stage's side data behind its length, then the codes, adds up what saturated, and leaves the page alone", () => {
    const marked = (id: string, mark: number[], saturated?: number): Stage => ({
      specVersion: 1,
      id,
      fit: () => ({ parameters: {}, context: {} }),
      forward: () => ({ bytes: Uint8Array.from(mark), ...(saturated !== undefined && { saturated }) }),
      inverse(x, side) {
        expect([...side]).toEqual(mark);
        x.data[0]! += mark.length;
      },
    });
    const quantizer = staged({ ...parts(), stages: [marked("my/a", [7, 8], 3), marked("my/b", []), marked("my/c", [9], 2)], coder: uniform({ bits: 8 }), packing: linear(8) });
    const codec = quantizer.open(quantizer.fit(layer()));
    const page = makeMatrix(1, 8, (_, col) => (col % 2 === 0 ? -1 : 1));
    const block = codec.encode(page);
    expect(block).toEqual({ tokens: 1, bytes: Uint8Array.of(2, 0, 0, 0, 7, 8, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 255, 0, 255, 0, 255, 0, 255), saturated: 5, clamped: 0 });
    expect([...page.data]).toEqual([-1, 1, -1, 1, -1, 1, -1, 1]);
    const out = makeMatrix(1, 8, () => NaN);
    codec.decode(block, out);
    expect([...out.data]).toEqual([2, 1, -1, 1, -1, 1, -1, 1]);
    for (const tokens of [0, 65, 0.5, NaN]) expect(() => codec.decode({ ...block, tokens }, out)).toThrow(CORRUPT);
    // Cut within a length, within side data, and before the last length; and a length beyond the end.
    for (const end of [2, 5, 8, 10]) expect(() => codec.decode({ ...block, bytes: block.bytes.subarray(0, end) }, out)).toThrow(CORRUPT);
    expect(() => codec.decode({ ...block, bytes: Uint8Array.from(block.bytes, (byte, at) => (at === 3 ? 255 : byte)) }, out)).toThrow(CORRUPT);
  });

  it("codes up to 64 tokens, and keeps its input when it normalises", () => {
    const quantizer = staged(parts());
    const codec = quantizer.open(quantizer.fit(layer()));
    const page = makeMatrix(64, 8, (row, col) => Math.sin(row * 8 + col));
    const before = page.data.slice();
    const block = codec.encode(page);
    expect(page.data).toEqual(before);
    codec.decode(block, makeMatrix(64, 8, () => 0));
  });
});
