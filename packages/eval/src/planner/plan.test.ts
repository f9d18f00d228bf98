import { describe, expect, it } from "vitest";
import { cacheBytesOf } from "../cache-bytes-at.js";
import { planFront, planPreset, solvePlan } from "./plan.js";
import type { PlanInput } from "./plan.js";
import { defaultPlanOptions } from "./plan-option.js";
import type { Price } from "./price-options.js";

const shape = { layers: 2, queryHeads: 2, kvHeads: 1, headDim: 16 };
const length = { tokens: 1000, tailTokens: 64, sinkTokens: 1 };

/** Blocks of 2 to 5 bits whose damage falls fourfold a bit; the values of layer 1 are 100 times more sensitive. */
function makePrices(): Price[] {
  return [0, 1].flatMap((layer) =>
    (["key", "value"] as const).flatMap((side) =>
      [2, 3, 4, 5].map((codeBits) => {
        const bitsPerValue = codeBits + 0.25;
        const damage = 0.016 * 4 ** (2 - codeBits) * (layer === 1 && side === "value" ? 100 : 1);
        return { layer, side, option: `${side === "key" ? "page" : "rotated"}:${codeBits}`, codeBits, bitsPerValue, pageBytes: (bitsPerValue * 64 * 16) / 8, tableBytes: 40, damage, damageError: undefined };
      }),
    ),
  );
}
const input: PlanInput = { prices: makePrices(), shape, length };

describe("solving for a plan", () => {
  it("gives the sensitive tensor the bits, under a bound of bits", () => {
    const plan = solvePlan(input, { bits: 3 });
    // 12 bits in all: 2.25 each leaves 3, all of which the sensitive tensor earns.
    expect(plan.tensors.map(({ layer, side, option }) => [layer, side, option])).toEqual([[0, "key", "page:2"], [0, "value", "rotated:2"], [1, "key", "page:2"], [1, "value", "rotated:5"]]);
    expect(plan.bitsPerValue).toBeCloseTo(3, 12);
    expect(plan.predictedKld).toBeCloseTo(3 * 0.016 + 1.6 / 64, 12);
  });

  it("states the bytes of the cache it plans, sinks, tail and tables counted", () => {
    const plan = solvePlan(input, { bits: 3 });
    // 999 tokens behind the sink; 14 pages of 64 are closed 64 tokens behind the newest; the other 103 take two chunks of 64.
    const closed = 14;
    const blocks = closed * ((4 * 3 * 64 * 16) / 8 + 2 * 8);
    const exact = 2 * (128 + 1) * 4 * 16;
    expect(plan.cacheBytes).toBe(blocks + exact + 4 * 40);
  });

  it("takes the cheapest plan whose predicted divergence is under the bound", () => {
    const plan = solvePlan(input, { maxKld: 0.074 });
    expect(plan.predictedKld).toBeLessThanOrEqual(0.074);
    expect(plan.bitsPerValue).toBeCloseTo(3, 12);
  });

  it("fills a memory as far as whole steps go, and no further", () => {
    const { cacheBytes } = solvePlan(input, { bits: 3 });
    expect(solvePlan(input, { memoryBytes: cacheBytes }).cacheBytes).toBe(cacheBytes);
    const smaller = solvePlan(input, { memoryBytes: cacheBytes - 1 });
    expect(smaller.cacheBytes).toBeLessThan(cacheBytes);
    expect(smaller.predictedKld).toBeGreaterThan(solvePlan(input, { bits: 3 }).predictedKld);
  });

  it("keeps both bits and memory", () => {
    const { cacheBytes } = solvePlan(input, { bits: 3 });
    expect(solvePlan(input, { bits: 4, memoryBytes: cacheBytes }).bitsPerValue).toBeCloseTo(3, 12);
    expect(solvePlan(input, { bits: 3, memoryBytes: 2 * cacheBytes }).bitsPerValue).toBeCloseTo(3, 12);
  });

  it.each([
    [{ bits: 2 }, /the smallest plan has 2\.250 bits/],
    [{ maxKld: 1e-4 }, /the least harmful plan is predicted at 5\.250 bits a value, KL divergence 0\.0258/],
    [{ memoryBytes: 1000 }, /at 1000 tokens the smallest plan takes 2\.250 bits a value/],
    [{ maxKld: 0.03, bits: 3 }, /the cheapest plan under that divergence has .*; the best within 3 bits has 3\.000 bits a value, KL divergence 0\.0730/],
    [{}, /expected a KL divergence, bits or memory/],
    [{ bits: NaN }, /a number above 0/],
    [{ maxKld: 0 }, /a number above 0/],
  ])("refuses %j with INVALID_ARGUMENT and what can be had", (bounds, message) => {
    expect(() => solvePlan(input, bounds)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) }));
  });

  it("refuses prices that miss a layer", () => {
    expect(() => solvePlan({ ...input, prices: input.prices.filter(({ layer, side }) => layer === 0 || side === "key") }, { bits: 3 })).toThrowError(/none for values of layer 1/);
  });
});

describe("the Pareto front", () => {
  it("runs from the fewest bits to the least harm, and every point of it is a plan that solving finds", () => {
    const front = planFront(input);
    expect(front).toHaveLength(1 + 4 * 3);
    expect(front[0]!.bitsPerValue).toBeCloseTo(2.25, 12);
    expect(front.at(-1)!.bitsPerValue).toBeCloseTo(5.25, 12);
    for (const point of front) expect(solvePlan(input, { bits: point.bitsPerValue * (1 + 1e-12) }).predictedKld).toBeCloseTo(point.predictedKld, 12);
    for (const [index, point] of front.slice(1).entries()) {
      expect(point.bitsPerValue).toBeGreaterThan(front[index]!.bitsPerValue);
      expect(point.predictedKld).toBeLessThan(front[index]!.predictedKld);
      expect(point.cacheBytes).toBeGreaterThan(front[index]!.cacheBytes);
    }
  });
});

describe("a plan as a preset", () => {
  it("has the quantizers of the plan, layer by layer", () => {
    const preset = planPreset("kvq:3", solvePlan(input, { bits: 3 }), defaultPlanOptions());
    expect(preset.layers!.map(({ key, value }) => [key.id, value.id])).toEqual([["kvquant/page-keys", "kvquant/rotated-values"], ["kvquant/page-keys", "kvquant/rotated-values"]]);
  });

  it("refuses an option that is not offered", () => {
    expect(() => planPreset("kvq:3", solvePlan(input, { bits: 3 }), [])).toThrowError(/keys of layer 0/);
  });
});

describe("bytes of a cache by arithmetic", () => {
  it("count a layer without pages as fp16", () => {
    expect(cacheBytesOf({ shape, pageBytes: [undefined], tableBytes: 7 }, { tokens: 65, tailTokens: 0, sinkTokens: 0 })).toBe(7 + 128 * 4 * 16);
  });
});
