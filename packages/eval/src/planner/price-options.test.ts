import { decodeScaledHalves, rotatedValues } from "@kvquant/quant";
import { makeStatistics } from "@kvquant/quant/testing";
import type { Quantizer } from "@kvquant/quant";
import { describe, expect, it } from "vitest";
import { defaultPlanOptions } from "./plan-option.js";
import type { PlanOption } from "./plan-option.js";
import { pageDamage, priceOptions } from "./price-options.js";

const shape = { layers: 2, queryHeads: 4, kvHeads: 2, headDim: 16 };
const statistics = makeStatistics({ shape, windows: 1, tokens: 1025 });

/** Multiplies by 1.01 and writes a number of bytes that grows with the pages seen: 100, 200, .. */
function scalingQuantizer(): Quantizer {
  return {
    specVersion: 1,
    id: "test/scaling",
    side: "value",
    frame: "pre-rope",
    fit: () => ({ id: "test/scaling", bits: 3, packing: "none", stages: [], arrays: { table: Float32Array.of(1, 2, 3) } }),
    open() {
      let pages = 0;
      let held = new Float32Array(0);
      return {
        encode(x) {
          held = x.data.map((value) => value * 1.01);
          return { tokens: x.rows, bytes: new Uint8Array(100 * ++pages), saturated: 0, clamped: 0 };
        },
        decode: (_block, out) => void out.data.set(held),
      };
    },
  };
}
const scaling: PlanOption = { id: "scaling:3", side: "value", bits: 3, quantizer: scalingQuantizer() };

describe("the damage of a page", () => {
  it("is half the mean square of each token's product of gradient and error, over all heads at once", () => {
    // Token 0: error (1, -1), gradient (3, 1): product 2. Token 1: error (0, 2), gradient (5, 4): product 8.
    const damage = pageDamage(Float32Array.of(1, 1, 1, 1), Float32Array.of(2, 0, 1, 3), Float32Array.of(3, 1, 5, 4), 2);
    expect(damage).toBe((2 ** 2 + 8 ** 2) / 2 / 2);
  });
});

describe("pricing", () => {
  it("states damage, its error and true bits of the held-out pages of every layer", async () => {
    const prices = await priceOptions(statistics, { options: [scaling] });
    expect(prices.map(({ layer, side, option }) => [layer, side, option])).toEqual([[0, "value", "scaling:3"], [1, "value", "scaling:3"]]);
    for (const { layer, damage, damageError, pageBytes, bitsPerValue, tableBytes } of prices) {
      const { heldOut } = statistics.layers[layer]!;
      expect(heldOut).toHaveLength(2);
      const pages = heldOut.map((page) => {
        const [values, gradients] = [decodeScaledHalves(page.values), decodeScaledHalves(page.valueGradients!)];
        let sum = 0;
        for (let token = 0; token < 64; token++) {
          let product = 0;
          for (let column = 0; column < 32; column++) product += gradients[32 * token + column]! * values[32 * token + column]! * 0.01;
          sum += product ** 2 / 128;
        }
        return sum;
      });
      expect(damage / ((pages[0]! + pages[1]!) / 2)).toBeCloseTo(1, 3);
      expect(damageError! / (Math.abs(pages[0]! - pages[1]!) / 2)).toBeCloseTo(1, 2);
      expect(pageBytes).toBe(150);
      expect(bitsPerValue).toBe((150 * 8) / (64 * 32));
      expect(tableBytes).toBe(6);
    }
  });

  it("prices every default option in every layer, and wider codes of the same kind harm less", async () => {
    const options = defaultPlanOptions();
    expect(new Set(options.map(({ side, id }) => `${side} ${id}`)).size).toBe(options.length);
    const seen: number[] = [];
    const prices = await priceOptions(statistics, { options, onProgress: ({ done, total }) => seen.push(done / total) });
    expect(prices).toHaveLength(2 * options.length);
    expect(seen.at(-1)).toBe(1);
    for (const { layer, side, option, codeBits, damage, bitsPerValue } of prices) {
      expect(bitsPerValue).toBeGreaterThanOrEqual(codeBits);
      const wider = prices.find((price) => price.layer === layer && price.side === side && price.option === option.replace(/:\d/, `:${codeBits + 2}`));
      if (wider !== undefined) expect(wider.damage).toBeLessThan(damage);
    }
  });

  it("opens codecs the way it is told", async () => {
    const opened: string[] = [];
    const option: PlanOption = { id: "rotated:3", side: "value", bits: 3, quantizer: rotatedValues({ bits: 3 }) };
    await priceOptions(statistics, { options: [option], openCodec: (artifact, { quantizer }) => (opened.push(artifact.id), quantizer.open(artifact)) });
    expect(opened).toEqual(["kvquant/rotated-values", "kvquant/rotated-values"]);
  });

  it("refuses calibrations without gradients, or too short for a held-out page, with the remedy", async () => {
    const forward = makeStatistics({ shape, windows: 1, tokens: 1025, sensitivity: "attention" });
    await expect(priceOptions(forward, { options: [scaling] })).rejects.toThrowError(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining("--sensitivity fisher") }));
    const short = makeStatistics({ shape, windows: 1, tokens: 200 });
    await expect(priceOptions(short, { options: [scaling] })).rejects.toThrowError(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining("--length 513") }));
  });

  it("stops when its signal fires", async () => {
    const controller = new AbortController();
    const run = priceOptions(statistics, { options: [scaling], signal: controller.signal, onProgress: () => controller.abort() });
    await expect(run).rejects.toThrowError(expect.objectContaining({ code: "CANCELLED" }));
  });
});
