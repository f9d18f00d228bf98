import { describe, expect, it } from "vitest";
import { applyHadamard, hadamardBlock } from "../numeric/hadamard.js";
import { makePage, makeStatistics, randomNumbers } from "../testing/index.js";
import { roundTrip } from "./fixtures/ruled-codec.js";
import { rotatedValues } from "./rotated-values.js";

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
      const decoded = roundTrip(quantizer.open(quantizer.fit(statistics)), v);
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
      expect(Math.abs(slope(roundTrip(shrunk!, v)) - (1 - distortion))).toBeLessThan(0.015);
      expect(Math.abs(slope(roundTrip(unbiased!, v)) - 1)).toBeLessThan(0.015);
      expect(unbiased!.encode(v).bytes).toEqual(shrunk!.encode(v).bytes);
    }
  });
});
