/** Every baseline: laws, sizes, true bits, and files. */

import { bitsPerValue } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { baselineNames, decodeArtifact, encodeArtifact, fitArtifact, halfPrecision, kivi, openArtifact, parsePreset } from "../index.js";
import type { CalibrationStatistics } from "../index.js";
import { assertLaws, makeMatrix, makePage, makeStatistics } from "../testing/index.js";

const shapeOf = (headDim: number): CacheShape => ({ layers: 1, queryHeads: 2, kvHeads: headDim > 100 ? 1 : 2, headDim });
const statisticsOf = new Map<number, CalibrationStatistics>();
/** Nothing is weighed, and a page of each window is held out. */
function statistics(headDim: number): CalibrationStatistics {
  let made = statisticsOf.get(headDim);
  if (made === undefined) statisticsOf.set(headDim, (made = makeStatistics({ shape: shapeOf(headDim), sensitivity: "none", windows: headDim === 64 ? 4 : 1, tokens: 577 })));
  return made;
}

const identity = {
  model: { fingerprint: "sha256:0123", name: "test", architecture: "llama" },
  calibration: { textFingerprint: "sha256:4567", sequences: 1, length: 577, tokens: 577, sensitivity: "none", method: "kvquant/test", methodVersion: 1 },
} as const;

/** Head dims that llama.cpp's blocks of 32 and rotation by 64 channels do not have. */
function refusal(name: string, headDim: number): RegExp | undefined {
  if (!/^(q|iq)\d/.test(name)) return undefined;
  if (headDim % 32 !== 0) return /expected a head dim that is a multiple of 32, the values of a block, got 80/;
  if (name.endsWith("+rot") && headDim % 64 !== 0) return /expected a head dim that is a multiple of 64, the smallest rotation of llama.cpp, got 96/;
  return undefined;
}

describe("every baseline", () => {
  for (const headDim of [64, 80, 96, 128, 256]) {
    it(`works on head dim ${headDim} without sensitivities, saved and opened again, or says why not`, () => {
      const fitted = statistics(headDim);
      const page = makePage(shapeOf(headDim));
      for (const name of baselineNames) {
        const refused = refusal(name, headDim);
        if (refused !== undefined) {
          expect(() => fitArtifact(parsePreset(name), fitted, identity), name).toThrowError(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(refused) as string }));
          continue;
        }
        const artifact = fitArtifact(parsePreset(name), fitted, identity);
        const opened = decodeArtifact(encodeArtifact(artifact));
        expect(opened, name).toEqual(artifact);
        const [direct] = openArtifact(artifact);
        const [codecs] = openArtifact(opened);
        for (const [side, x] of [["key", page.k], ["value", page.v]] as const) {
          const block = codecs![side].encode(x);
          expect(block.bytes, name).toEqual(direct![side].encode(x).bytes);
          const out = makeMatrix(64, x.cols, () => Number.NaN);
          codecs![side].decode(block, out);
          expect(out.data.every(Number.isFinite), name).toBe(true);
        }
      }
    });
  }

  for (const name of baselineNames) {
    it(`${name} keeps every law`, () => {
      const [layer] = statistics(64).layers;
      const { k, v } = makePage(shapeOf(64));
      const { key, value } = parsePreset(name);
      assertLaws({ quantizer: key, statistics: layer!, page: k, nmse: errorBound(name, "key") });
      assertLaws({ quantizer: value, statistics: layer!, page: v, nmse: errorBound(name, "value") });
    });
  }

  it("has an exact side to be measured beside: halves keep every law, and fp16 numbers as they are", () => {
    const [layer] = statistics(64).layers;
    const { k, v } = makePage(shapeOf(64));
    for (const [side, x] of [["key", k], ["value", v]] as const) {
      const quantizer = halfPrecision(side);
      assertLaws({ quantizer, statistics: layer!, page: x, nmse: 1e-6 });
      const exact = { ...x, data: x.data.map((value) => Math.round(value * 32) / 32) };
      const codec = quantizer.open(quantizer.fit(layer!));
      const out = makeMatrix(64, x.cols, () => Number.NaN);
      codec.decode(codec.encode(exact), out);
      expect(out.data).toEqual(exact.data);
      expect(bitsPerValue(codec.encode(exact), x.cols)).toBe(16);
    }
  });

  it("needs a calibration with held-out pages only where it learns", () => {
    const few = makeStatistics({ shape: shapeOf(64), sensitivity: "none", windows: 1, tokens: 100 });
    for (const name of baselineNames) {
      const fit = (): unknown => fitArtifact(parsePreset(name), few, identity);
      if (name.startsWith("cq")) expect(fit).toThrowError(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(/windows of more than 512 tokens/) as string }));
      else expect(fit, name).not.toThrow();
    }
  });
});

/** Bounds of the relative error on the suite's keys, one channel in eight of which lies six deviations from zero, and values. Errors of a uniform grid fall four times a bit. */
function errorBound(name: string, side: "key" | "value"): number {
  const bits = Number(/\d/.exec(name)![0]);
  const shared = side === "key" && /token|group32|^q|^iq|turbo/.test(name); // one scale for channels of many sizes
  if (name.startsWith("cq")) return { 2: 0.4, 4: 1, 8: 1.6 }[bits]!;
  return (shared ? 60 : 15) / 4 ** bits;
}

describe("true bits", () => {
  // [name, bits on head dim 64, on head dim 128], keys and values averaged: the width plus 16 bits for each number of a group over the group's values.
  const expected: [string, number, number][] = [
    ["int4-token", 4 + 32 / 64, 4 + 32 / 128],
    ["int4-channel", 4 + 32 / 64, 4 + (32 / 64 + 32 / 128) / 2],
    ["int4-group32", 5, 5],
    ["int8-group32", 9, 9],
    ["nf4-token", 4 + 16 / 64, 4 + 16 / 128],
    ["nf3-group32", 3.5, 3.5],
    ["kivi4", 5, 5],
    ["kivi2", 3, 3],
    ["q8_0", 8.5, 8.5],
    ["q5_1", 6, 6],
    ["q5_0", 5.5, 5.5],
    ["q4_1", 5, 5],
    ["q4_0", 4.5, 4.5],
    ["q4_0+rot", 4.5, 4.5],
    ["iq4_nl", 4.5, 4.5],
    ["turbo3", 3 + 16 / 64, 3 + 16 / 128],
    ["kvarn3", 3 + 48 / 64, 3 + (32 / 64 + 16 / 128 + 32 / 128 + 16 / 64) / 2],
    ["cq-2c8b", 4, 4],
    ["cq-4c8b", 2, 2],
    ["cq-8c8b", 1, 1],
  ];
  for (const [name, ...bits] of expected) {
    it(`of ${name} are ${bits.join(" and ")} on head dims 64 and 128`, () => {
      const measured = [64, 128].map((headDim) => {
        const page = makePage(shapeOf(headDim));
        const [codecs] = openArtifact(fitArtifact(parsePreset(name), statistics(headDim), identity));
        return (bitsPerValue(codecs!.key.encode(page.k), page.k.cols) + bitsPerValue(codecs!.value.encode(page.v), page.v.cols)) / 2;
      });
      expect(measured).toEqual(bits);
    });
  }

  it("stay the same for pages that are not full, group by group", () => {
    const { key } = kivi(2);
    const codec = key.open(key.fit(statistics(64).layers[0]!));
    const { k } = makePage(shapeOf(64));
    // 33 tokens x 128 channels of 2 bits, and two groups of 4 bytes a channel.
    expect(codec.encode(makeMatrix(33, 128, (row, col) => k.data[row * 128 + col]!)).bytes).toHaveLength((33 * 128) / 4 + 2 * 4 * 128);
  });
});
