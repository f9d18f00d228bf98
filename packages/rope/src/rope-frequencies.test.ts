import { readFileSync } from "node:fs";
import { KvquantError } from "@kvquant/spec";
import { describe, expect, test } from "vitest";
import type { RopeConfig, RopeScaling } from "./rope-config.js";
import { ropeFrequencies } from "./rope-frequencies.js";

interface GoldenCase {
  readonly type: string;
  readonly dim: number;
  readonly base: number;
  readonly factor: number;
  readonly max_position_embeddings: number;
  readonly original_max_position_embeddings: number;
  readonly seq_len?: number;
  readonly beta_fast: number;
  readonly beta_slow: number;
  readonly truncate: boolean;
  readonly low_freq_factor: number;
  readonly high_freq_factor: number;
  readonly short_factor: number[];
  readonly long_factor: number[];
  readonly attention_factor: number;
  readonly inv_freq: number[];
}

const golden = JSON.parse(readFileSync(new URL("../golden/rope-expected.json", import.meta.url), "utf8")) as { cases: GoldenCase[] };

function scalingOf(golden: GoldenCase): RopeScaling {
  const { factor } = golden;
  const originalMaxPositionEmbeddings = golden.original_max_position_embeddings;
  switch (golden.type) {
    case "default":
      return { type: "none" };
    case "dynamic":
      return { type: "dynamic", factor, maxPositionEmbeddings: golden.max_position_embeddings };
    case "yarn":
      return { type: "yarn", factor, originalMaxPositionEmbeddings, betaFast: golden.beta_fast, betaSlow: golden.beta_slow, truncate: golden.truncate };
    case "llama3":
      return { type: "llama3", factor, originalMaxPositionEmbeddings, lowFreqFactor: golden.low_freq_factor, highFreqFactor: golden.high_freq_factor };
    case "longrope":
      return { type: "longrope", factor, originalMaxPositionEmbeddings, shortFactor: golden.short_factor, longFactor: golden.long_factor };
    default:
      throw new Error(`golden file has an unknown type ${golden.type}`);
  }
}

function frequencies(scaling: RopeScaling, sequenceLength?: number, sizes: Partial<RopeConfig> = {}): number[] {
  return [...ropeFrequencies({ headDim: 128, rotaryDim: 128, base: 10_000, ...sizes, scaling }, sequenceLength).inverseFrequencies];
}

function expectRelative(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(Math.abs(actual[i]! - value) / value, `index ${i}`).toBeLessThanOrEqual(tolerance);
}

describe("ropeFrequencies", () => {
  test("the golden file holds all 54 cases of five rules", () => {
    expect(golden.cases.length).toBe(54);
    expect(new Set(golden.cases.map((entry) => entry.type))).toEqual(new Set(["default", "dynamic", "yarn", "llama3", "longrope"]));
  });

  test.each(golden.cases.map((entry, index) => [index, entry.type, entry.dim, entry.base, entry] as const))(
    "golden case %i (%s, dim %i, base %i) agrees to 1e-14 with the float64 oracle",
    (_index, _type, dim, base, entry) => {
      const { inverseFrequencies, attentionFactor } = ropeFrequencies({ headDim: dim, rotaryDim: dim, base, scaling: scalingOf(entry) }, entry.seq_len);
      expectRelative([...inverseFrequencies], entry.inv_freq, 1e-14);
      expect(Math.abs(attentionFactor - entry.attention_factor)).toBeLessThan(1e-14);
    },
  );

  test("linear divides every frequency by the factor", () => {
    expectRelative(frequencies({ type: "linear", factor: 8 }), frequencies({ type: "none" }).map((x) => x / 8), 1e-15);
  });

  test("factors divide each frequency by its own factor", () => {
    const factors = Array.from({ length: 64 }, (_, i) => 1 + i / 7);
    expectRelative(frequencies({ type: "factors", factors }), frequencies({ type: "none" }).map((x, i) => x / factors[i]!), 1e-15);
  });

  test("llama3 gives the factors that llama.cpp writes into rope_freqs for Llama 3.1 and 3.2", () => {
    const llama31 = { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 8192 } as const;
    const sizes31 = { base: 5e5 };
    const factors31 = [...Array<number>(29).fill(1), 1.207484, 1.553415, 2.026313, 2.69453, 3.684253, 5.257327, ...Array<number>(29).fill(8)];
    expectRelative(frequencies(llama31, 0, sizes31), frequencies({ type: "factors", factors: factors31 }, 0, sizes31), 5e-7);
    const sizes32 = { base: 5e5, headDim: 64, rotaryDim: 64 };
    const factors32 = [...Array<number>(15).fill(1), 1.651329, 3.292262, 9.666729, ...Array<number>(14).fill(32)];
    expectRelative(frequencies({ ...llama31, factor: 32 }, 0, sizes32), frequencies({ type: "factors", factors: factors32 }, 0, sizes32), 5e-7);
  });

  test("dynamic equals no scaling up to its original length, for every factor", () => {
    for (const factor of [1, 2, 10, 20]) {
      for (const length of [undefined, 0, 1, 2048]) {
        expect(frequencies({ type: "dynamic", factor, maxPositionEmbeddings: 2048 }, length)).toEqual(frequencies({ type: "none" }));
      }
    }
    expect(frequencies({ type: "dynamic", factor: 2, maxPositionEmbeddings: 2048 }, 2049)[1]).toBeLessThan(frequencies({ type: "none" })[1]!);
  });

  test("yarn with betaFast 1000 interpolates the last 20 pairs fully and every pair but the first a little", () => {
    const none = frequencies({ type: "none" });
    const yarn = frequencies({ type: "yarn", factor: 10, originalMaxPositionEmbeddings: 2048, betaFast: 1000 });
    expectRelative(yarn.slice(-20), none.slice(-20).map((x) => x / 10), 1e-15);
    expect(yarn[0]).toBe(none[0]);
    for (let i = 1; i < 64; i++) expect(yarn[i]!).toBeLessThan(none[i]!);
  });

  test("yarn without truncation starts its ramp between pairs", () => {
    const scaling = { type: "yarn", factor: 10, originalMaxPositionEmbeddings: 2048 } as const;
    const low = (128 * Math.log(2048 / (64 * Math.PI))) / (2 * Math.log(10_000));
    const high = (128 * Math.log(2048 / (2 * Math.PI))) / (2 * Math.log(10_000));
    const expected = frequencies({ type: "none" }).map((x, i) => {
      const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
      return x * (1 - 0.9 * ramp);
    });
    expectRelative(frequencies({ ...scaling, truncate: false }), expected, 1e-14);
    expect(frequencies({ ...scaling, truncate: false })[30]).not.toBe(frequencies(scaling)[30]);
  });

  test("yarn with both ends of its ramp at the same pair steps there", () => {
    const expected = frequencies({ type: "none" }).map((x, i) => (i === 0 ? x : x / 10));
    expectRelative(frequencies({ type: "yarn", factor: 10, originalMaxPositionEmbeddings: 6 }), expected, 1e-15);
  });

  test("yarn with equal betas steps from no scaling to the whole factor", () => {
    // 2048 positions are 8 turns of the pair 2 pi 8 / 2048 = 10000^(-2 i / 128), i = 25.8.
    const expected = frequencies({ type: "none" }).map((x, i) => (i < 26 ? x : x / 10));
    expectRelative(frequencies({ type: "yarn", factor: 10, originalMaxPositionEmbeddings: 2048, betaFast: 8, betaSlow: 8, truncate: false }), expected, 1e-15);
  });

  test("yarn's attention factor is the given one, else the ratio of both mscales, else 0.1 ln(factor) + 1", () => {
    const attention = (extra: object): number =>
      ropeFrequencies({ headDim: 64, rotaryDim: 64, base: 10_000, scaling: { type: "yarn", factor: 40, originalMaxPositionEmbeddings: 4096, ...extra } }).attentionFactor;
    expect(attention({})).toBeCloseTo(1 + 0.1 * Math.log(40), 14);
    expect(attention({ mscale: 0.707 })).toBeCloseTo(1 + 0.1 * Math.log(40), 14);
    expect(attention({ mscale: 0.707, mscaleAllDim: 1 })).toBeCloseTo((1 + 0.0707 * Math.log(40)) / (1 + 0.1 * Math.log(40)), 14);
    expect(attention({ mscale: 1, mscaleAllDim: 1 })).toBe(1);
    expect(attention({ attentionFactor: 1.5, mscale: 1, mscaleAllDim: 2 })).toBe(1.5);
    expect(attention({ factor: 0.5 })).toBe(1);
  });

  test("llama3 with a high frequency factor of 1000 scales every pair", () => {
    const llama3 = frequencies({ type: "llama3", factor: 10, lowFreqFactor: 1, highFreqFactor: 1000, originalMaxPositionEmbeddings: 2048 });
    const none = frequencies({ type: "none" });
    for (let i = 0; i < 64; i++) expect(llama3[i]!).toBeLessThan(none[i]!);
  });

  test("longrope takes its long factors from the first token past the original length", () => {
    const longFactor = Array.from({ length: 64 }, (_, i) => i + 1);
    const scaling = { type: "longrope", factor: 10, shortFactor: Array<number>(64).fill(2), longFactor, originalMaxPositionEmbeddings: 2048 } as const;
    const none = frequencies({ type: "none" });
    expectRelative(frequencies(scaling, 2048), none.map((x) => x / 2), 1e-15);
    expectRelative(frequencies(scaling, 2049), none.map((x, i) => x / (i + 1)), 1e-15);
    expect(ropeFrequencies({ headDim: 128, rotaryDim: 128, base: 1e4, scaling: { ...scaling, factor: 1 } }).attentionFactor).toBe(1);
    expect(ropeFrequencies({ headDim: 128, rotaryDim: 128, base: 1e4, scaling: { ...scaling, factor: 0.5 } }).attentionFactor).toBe(1);
    expect(ropeFrequencies({ headDim: 128, rotaryDim: 128, base: 1e4, scaling: { ...scaling, attentionFactor: 1.25 } }).attentionFactor).toBe(1.25);
  });

  test("partial rotary uses the rotary dim, not the head dim", () => {
    expect(frequencies({ type: "none" }, 0, { rotaryDim: 32 })).toEqual(frequencies({ type: "none" }, 0, { headDim: 32, rotaryDim: 32 }));
  });

  test.each<[string, Partial<RopeConfig>, RegExp]>([
    ["an odd rotary dim", { rotaryDim: 63 }, /rotaryDim: expected an even number, got 63/],
    ["a rotary dim above the head dim", { rotaryDim: 130 }, /rotaryDim/],
    ["a base of 1", { base: 1 }, /rope\.base/],
    ["a NaN base", { base: NaN }, /rope\.base/],
    ["a factor of 0", { scaling: { type: "linear", factor: 0 } }, /factor/],
    ["a missing length", { scaling: { type: "yarn", factor: 2 } as RopeScaling }, /originalMaxPositionEmbeddings/],
    ...(["linear", "yarn", "llama3", "longrope"] as const).map((type): [string, Partial<RopeConfig>, RegExp] => [
      `a missing ${type} factor`,
      { rotaryDim: 4, scaling: { type, lowFreqFactor: 1, highFreqFactor: 4, shortFactor: [1, 1], longFactor: [1, 1], originalMaxPositionEmbeddings: 8 } as unknown as RopeScaling },
      /scaling\.factor: expected a finite number above 0, got undefined/,
    ]),
    ["a missing low frequency factor", { scaling: { type: "llama3", factor: 8, highFreqFactor: 4, originalMaxPositionEmbeddings: 8 } as RopeScaling }, /lowFreqFactor/],
    ["a NaN mscale", { scaling: { type: "yarn", factor: 2, originalMaxPositionEmbeddings: 8, mscale: NaN, mscaleAllDim: 1 } }, /mscale/],
    ["a negative mscaleAllDim", { scaling: { type: "yarn", factor: 2, originalMaxPositionEmbeddings: 8, mscale: 1, mscaleAllDim: -1 } }, /mscaleAllDim/],
    ["a betaFast below betaSlow", { scaling: { type: "yarn", factor: 2, originalMaxPositionEmbeddings: 8, betaFast: 1, betaSlow: 32 } }, /betaFast: expected a finite number of at least betaSlow 32, got 1/],
    ["a betaFast below the default betaSlow", { scaling: { type: "yarn", factor: 2, originalMaxPositionEmbeddings: 8, betaFast: 0.5 } }, /betaFast/],
    ["too few factors", { scaling: { type: "factors", factors: [1, 2] } }, /expected 64 numbers .* got 2/],
    ["a factor of 0 among factors", { scaling: { type: "factors", factors: Array<number>(64).fill(0) } }, /factors/],
    ["low and high frequency factors swapped", { scaling: { type: "llama3", factor: 8, lowFreqFactor: 4, highFreqFactor: 1, originalMaxPositionEmbeddings: 8192 } }, /highFreqFactor/],
    ["a head dim of 1", { headDim: 1 }, /rope\.headDim/],
    ["a fractional head dim", { headDim: 128.5 }, /rope\.headDim/],
    ["no rotary dim", { rotaryDim: 0 }, /rope\.rotaryDim/],
    ["an infinite base", { base: Infinity }, /rope\.base/],
    ["an infinite factor", { scaling: { type: "linear", factor: Infinity } }, /factor/],
    ["dynamic scaling of a single pair", { rotaryDim: 2, scaling: { type: "dynamic", factor: 2, maxPositionEmbeddings: 8 } }, /rope\.rotaryDim: expected at least 4 for dynamic scaling, got 2/],
    ["a dynamic factor below 1", { scaling: { type: "dynamic", factor: 0.99, maxPositionEmbeddings: 8 } }, /factor: expected a finite number of at least 1, got 0\.99/],
    ["an infinite dynamic factor", { scaling: { type: "dynamic", factor: Infinity, maxPositionEmbeddings: 8 } }, /factor/],
    ["no length to grow from", { scaling: { type: "dynamic", factor: 2, maxPositionEmbeddings: 0 } }, /maxPositionEmbeddings/],
    ["a yarn factor of 0", { scaling: { type: "yarn", factor: 0, originalMaxPositionEmbeddings: 8 } }, /factor/],
    ["a betaFast of 0", { scaling: { type: "yarn", factor: 2, originalMaxPositionEmbeddings: 8, betaFast: 0 } }, /betaFast/],
    ["a negative betaSlow", { scaling: { type: "yarn", factor: 2, originalMaxPositionEmbeddings: 8, betaSlow: -1 } }, /betaSlow/],
    ["a NaN attention factor", { scaling: { type: "yarn", factor: 2, originalMaxPositionEmbeddings: 8, attentionFactor: NaN } }, /attentionFactor/],
    ["yarn over no length", { scaling: { type: "yarn", factor: 2, originalMaxPositionEmbeddings: 0 } }, /originalMaxPositionEmbeddings/],
    ["a llama3 factor of 0", { scaling: { type: "llama3", factor: 0, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 8 } }, /factor/],
    ["a low frequency factor of 0", { scaling: { type: "llama3", factor: 8, lowFreqFactor: 0, highFreqFactor: 4, originalMaxPositionEmbeddings: 8 } }, /lowFreqFactor/],
    ["equal low and high frequency factors", { scaling: { type: "llama3", factor: 8, lowFreqFactor: 4, highFreqFactor: 4, originalMaxPositionEmbeddings: 8 } }, /highFreqFactor: expected above lowFreqFactor 4, got 4/],
    ["llama3 over no length", { scaling: { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 0 } }, /originalMaxPositionEmbeddings/],
    ...([{ factor: 0 }, { attentionFactor: 0 }, { shortFactor: [1] }, { longFactor: [1] }, { shortFactor: [1, 0] }, { longFactor: [1, -1] }, { originalMaxPositionEmbeddings: 1 }] as const).map((change): [string, Partial<RopeConfig>, RegExp] => [
      `longrope with ${JSON.stringify(change)}`,
      { rotaryDim: 4, scaling: { type: "longrope", factor: 2, shortFactor: [1, 1], longFactor: [1, 2], originalMaxPositionEmbeddings: 8, ...change } },
      new RegExp(Object.keys(change)[0]!),
    ]),
    ["an unknown rule", { scaling: { type: "cubic" } as unknown as RopeScaling }, /rope\.scaling\.type: expected none, linear.* got cubic/],
  ])("%s is refused with INVALID_ARGUMENT", (_name, change, message) => {
    const config: RopeConfig = { headDim: 128, rotaryDim: 128, base: 10_000, scaling: { type: "none" }, ...change };
    expect(() => ropeFrequencies(config)).toThrow(message);
    try {
      ropeFrequencies(config);
    } catch (error) {
      expect(KvquantError.isInstance(error) && error.code).toBe("INVALID_ARGUMENT");
    }
  });

  test("a length that is negative, infinite or NaN is refused", () => {
    const config: RopeConfig = { headDim: 8, rotaryDim: 8, base: 10_000, scaling: { type: "dynamic", factor: 2, maxPositionEmbeddings: 8 } };
    for (const length of [-1, Infinity, NaN]) expect(() => ropeFrequencies(config, length)).toThrow(/sequenceLength: expected a finite number of at least 0/);
  });

  test("the smallest sizes and limits there are, are accepted", () => {
    const smallest: RopeConfig = { headDim: 2, rotaryDim: 2, base: 1.5, scaling: { type: "none" } };
    expect([...ropeFrequencies(smallest).inverseFrequencies]).toEqual([1]);
    const dynamic: RopeConfig = { headDim: 4, rotaryDim: 4, base: 100, scaling: { type: "dynamic", factor: 1, maxPositionEmbeddings: 1 } };
    // Factor 1: the base grows with length over original length, to the power d / (d - 2) = 2.
    expectRelative([...ropeFrequencies(dynamic, 3).inverseFrequencies], [1, (100 * 3 ** 2) ** -0.5], 1e-15);
    const longrope: RopeConfig = { headDim: 4, rotaryDim: 4, base: 100, scaling: { type: "longrope", factor: 4, shortFactor: [1, 1], longFactor: [1, 2], originalMaxPositionEmbeddings: 2 } };
    expect(ropeFrequencies(longrope).attentionFactor).toBeCloseTo(Math.sqrt(3), 14);
    const yarn: RopeConfig = { headDim: 4, rotaryDim: 4, base: 100, scaling: { type: "yarn", factor: 2, originalMaxPositionEmbeddings: 1 } };
    expectRelative([...ropeFrequencies(yarn).inverseFrequencies], [1, 0.05], 1e-15);
  });

  test("yarn's ramp ends at pair d - 1 at the latest", () => {
    // Base 30 over 5,500 tokens, d = 128: 32 turns at pair 62.2, one turn at pair 127.4, of which 127 is taken; so pair 63 is 1/65 up the ramp.
    const yarn = frequencies({ type: "yarn", factor: 10, originalMaxPositionEmbeddings: 5500 }, 0, { base: 30 });
    expect(yarn[62]).toBe(30 ** (-124 / 128));
    expect(yarn[63]! / 30 ** (-126 / 128)).toBeCloseTo(1 - 0.9 / 65, 12);
  });
});
