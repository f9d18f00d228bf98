import type { QuantizerArtifact } from "@kvquant/spec";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keyRange, normalisedKeys } from "../calibration/key-range.js";
import { makeMatrix, makeStatistics } from "../testing/index.js";
import { channelKeys } from "./channel-keys.js";
import { histogramMoments } from "./fixtures/histogram-moments.js";
import { roundTrip, ruledArtifact, ruledCodec } from "./fixtures/ruled-codec.js";

describe("outliers of keys", () => {
  const artifact = ruledArtifact("channel", 3, { outliers: true });
  const codec = channelKeys({ bits: 3 }).open(artifact);
  const { scale, zero } = artifact.arrays as Record<string, Float32Array>;

  it("come back to within half a unit of fp16, without bias, wherever they lie (trap 4)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 63 }), fc.integer({ min: 0, max: 63 }), fc.double({ min: -200, max: 200, noNaN: true }), (token, column, value) => {
        const x = makeMatrix(64, 64, (_, col) => zero![col]!);
        x.data[token * 64 + column] = value;
        const decoded = roundTrip(codec, x)[token * 64 + column]!;
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
    const fed = ruledCodec("channel", 3, { outliers: true, feedback: true });
    const inside = makeMatrix(64, 64, (row, col) => zero![col]! + 0.99 * scale![col]! * ((row + col) % 2 === 0 ? 1 : -1));
    expect(fed.encode(inside).bytes.length).toBe(codec.encode(inside).bytes.length);
    expect(fed.encode(inside).saturated).toBe(0);
  });

  it("without slots saturate at the end level and are counted", () => {
    const plain = ruledCodec("channel", 3);
    const x = makeMatrix(3, 64, (row, col) => zero![col]! + (row === 1 && col < 4 ? 9 : 0));
    expect(plain.encode(x).saturated).toBe(4);
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
    const data = histogramMoments(histogram);
    const quantised = ({ arrays }: QuantizerArtifact) => histogramMoments(histogram, (x) => arrays.levels![arrays.midpoints!.filter((middle) => middle < x).length]!);
    // Half a step of the grid is what putting the levels back on it may cost.
    expect(Math.abs(quantised(moved).mean - data.mean)).toBeLessThan(0.5 / 127);
    expect(Math.abs(quantised(moved).deviation - data.deviation)).toBeLessThan(0.5 / 127);
    expect(Math.abs(quantised(plain).deviation - data.deviation)).toBeGreaterThan(1 / 127);
  });
});
