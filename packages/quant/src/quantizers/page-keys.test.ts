import { nearestCode } from "@kvquant/codebook";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { channelOfCode } from "../geometry.js";
import { makeMatrix, makeStatistics } from "../testing/index.js";
import { histogramMoments } from "./fixtures/histogram-moments.js";
import { roundTrip } from "./fixtures/ruled-codec.js";
import { pageKeys } from "./page-keys.js";

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

  it("decode to the keys' own deviation with Q-Norm, searched by the fitted levels", () => {
    const [plain, moved] = [false, true].map((qNorm) => pageKeys({ bits: 2, levels: "learned", qNorm }).fit(statistics).arrays as Record<string, Float32Array>) as [Record<string, Float32Array>, Record<string, Float32Array>];
    expect(moved.midpoints).toEqual(plain.midpoints);
    const histogram = statistics.key.pages.plain;
    const own = histogramMoments(histogram).deviation;
    const miss = ({ levels, midpoints }: Record<string, Float32Array>): number => Math.abs(histogramMoments(histogram, (x) => levels![nearestCode(midpoints!, x)]!).deviation / own - 1);
    expect(miss(moved)).toBeLessThan(0.01);
    expect(miss(plain)).toBeGreaterThan(2 * miss(moved));
  });

  it("follow a page that leaves the calibrated range, and count what had to be clamped", () => {
    const wide = makeMatrix(64, 16, (row, col) => z![col]! + a![col]! * 6 * Math.sin(row + col));
    expect(codec.encode(wide).clamped).toBe(0);
    const decoded = roundTrip(codec, wide);
    for (let index = 0; index < decoded.length; index++) expect(Math.abs(decoded[index]! - wide.data[index]!)).toBeLessThan(6 * a![index % 16]! * 0.1);
    const far = makeMatrix(64, 16, (row, col) => z![col]! + a![col]! * (20 + Math.sin(row)));
    expect(codec.encode(far).clamped).toBe(16);
    expect(codec.encode(makeMatrix(64, 16, (_, col) => z![col]!)).clamped).toBe(0);
  });
});
