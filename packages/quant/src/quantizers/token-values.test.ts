import { describe, expect, it } from "vitest";
import { parsePreset } from "../preset.js";
import { makeMatrix, makePage, makeStatistics, randomNumbers } from "../testing/index.js";
import { roundTrip } from "./fixtures/ruled-codec.js";
import { tokenValues } from "./token-values.js";

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
    const decoded = roundTrip(codec, x);
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
      const page = roundTrip(codec, v);
      for (const token of [0, 17, 63]) {
        const alone = roundTrip(codec, { data: v.data.slice(token * 192, (token + 1) * 192), rows: 1, cols: 192 });
        expect(alone).toEqual(page.slice(token * 192, (token + 1) * 192));
      }
    }
  });
});
