import type { QuantizerArtifact } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { keyRange } from "../calibration/key-range.js";
import { finiteHalf } from "../numeric/half-array.js";
import { parsePreset } from "../preset.js";
import { makeStatistics } from "../testing/index.js";
import { channelKeys } from "./channel-keys.js";
import { pageKeys } from "./page-keys.js";
import { rotatedValues } from "./rotated-values.js";
import { tokenValues } from "./token-values.js";

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
