import { linear } from "@kvquant/packing";
import { describe, expect, it } from "vitest";
import { hadamard, normalize, outliers, staged, uniform } from "../index.js";
import { makeMatrix, makePage, makeStatistics } from "../testing/index.js";

const shape = { layers: 1, queryHeads: 3, kvHeads: 3, headDim: 8 };
const statistics = makeStatistics({ shape, tokens: 200, windows: 1 }).layers[0]!;
const values = staged({ id: "my/values", side: "value", stages: [outliers({ axis: "token", fraction: 0.1 }), hadamard(), normalize({ axis: "token" })], coder: uniform({ bits: 4 }), packing: linear(4) });
const keys = staged({ id: "my/keys", side: "key", stages: [normalize({ axis: "channel" })], coder: uniform({ bits: 4 }), packing: linear(4) });

describe("artifacts of staged quantizers", () => {
  const { k, v } = makePage(shape);

  it.each([
    ["a negative count", "0.count", -1],
    ["half an outlier", "0.count", 1.5],
    ["as many outliers as channels", "0.count", 24],
    ["more outliers than memory", "0.count", 1e12],
    ["a block of none", "1.block", 0],
    ["a block that is no power of two", "1.block", 3],
    ["a block that does not divide the row", "1.block", 16],
    ["half a block", "1.block", 0.5],
    ["a block that is no number", "1.block", NaN],
  ])("with %s are CORRUPT_DATA when they are used", (_, name, number) => {
    const artifact = values.fit(statistics);
    const codec = values.open({ ...artifact, arrays: { ...artifact.arrays, [name]: Float32Array.of(number) } });
    expect(() => codec.encode(v)).toThrow(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringContaining(name.slice(2)) }));
  });

  it("with a scale that is not finite are CORRUPT_DATA, and decode nothing", () => {
    const artifact = keys.fit(statistics);
    const block = keys.open(artifact).encode(k);
    const codec = keys.open({ ...artifact, arrays: { ...artifact.arrays, "0.scale": artifact.arrays["0.scale"]!.map(() => Infinity) } });
    expect(() => codec.encode(k)).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
    expect(() => codec.decode(block, makeMatrix(64, 24, () => 0))).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
  });

  it("take an outlier out of a rotation and put it back", () => {
    const page = { ...v, data: v.data.slice() };
    page.data[5 * 24 + 7] = 60;
    const codec = values.open(values.fit(statistics));
    const out = makeMatrix(64, 24, () => NaN);
    codec.decode(codec.encode(page), out);
    expect(out.data[5 * 24 + 7]).toBeCloseTo(60, 0);
    expect(Math.abs(out.data[5 * 24 + 6]! - page.data[5 * 24 + 6]!)).toBeLessThan(1);
  });
});
