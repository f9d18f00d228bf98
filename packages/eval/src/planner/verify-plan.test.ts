import { describe, expect, it } from "vitest";
import type { Price } from "./price-options.js";
import type { Plan, PlanInput } from "./plan.js";
import { verifyPlan } from "./verify-plan.js";

/** 8 layers with page:2 to page:5 and rotated:2 to rotated:5; damage of 0.01 at 2 bits, a quarter of it for each bit more, a little more in later layers. */
const prices = Array.from({ length: 64 }, (_, index): Price => {
  const [layer, side, codeBits] = [index >> 3, (index & 4) === 0 ? ("key" as const) : ("value" as const), 2 + (index & 3)];
  return { layer, side, option: `${side === "key" ? "page" : "rotated"}:${codeBits}`, codeBits, bitsPerValue: codeBits, pageBytes: 128 * codeBits, tableBytes: 0, damage: (0.01 + 0.001 * layer) * 4 ** (2 - codeBits), damageError: undefined };
});
const input: PlanInput = { prices, shape: { layers: 8, queryHeads: 1, kvHeads: 1, headDim: 16 }, length: { tokens: 4096, tailTokens: 64, sinkTokens: 1 } };
const pessimist = (factor: number) => async (plan: Plan): Promise<number> => factor * plan.predictedKld;

describe("verifying a plan", () => {
  it("runs once when the run keeps the bound", async () => {
    const rounds = await verifyPlan(input, { maxKld: 0.05 }, { measure: pessimist(0.9) });
    expect(rounds).toHaveLength(1);
    expect(rounds[0].plan.predictedKld).toBeLessThanOrEqual(0.05);
  });

  it("tightens until the run keeps the bound, and shows every round", async () => {
    const shown: number[] = [];
    const rounds = await verifyPlan(input, { maxKld: 0.05 }, { measure: pessimist(1.6), onRound: ({ measuredKld }) => shown.push(measuredKld) });
    expect(shown).toEqual(rounds.map(({ measuredKld }) => measuredKld));
    expect(shown[0]).toBeGreaterThan(0.05);
    expect(shown.at(-1)).toBeLessThanOrEqual(0.05);
    expect(rounds.at(-1)!.plan.bitsPerValue).toBeGreaterThan(rounds[0].plan.bitsPerValue);
  });

  it("under a bound of bits runs once, whatever it measures", async () => {
    expect(await verifyPlan(input, { bits: 3 }, { measure: pessimist(100) })).toHaveLength(1);
  });

  it("says what was measured when no plan is good enough, or none was found in the rounds allowed", async () => {
    // At 5 bits everywhere the prediction is 2 * (0.08 + 0.028) / 64 = 0.003375.
    await expect(verifyPlan(input, { maxKld: 0.004 }, { measure: pessimist(2) })).rejects.toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/measured .* bits a value: 0\.00\d+ .*the least harmful plan is predicted at 5\.000 bits/) }));
    await expect(verifyPlan(input, { maxKld: 0.05 }, { measure: async () => 0.06, rounds: 2 })).rejects.toThrowError(/got 0\.05; measured .*0\.0600.*, .*0\.0600/);
  });

  it.each([{ maxKld: 0.05 }, { bits: 3 }])("takes NaN for no measurement that keeps %o", async (bounds) => {
    await expect(verifyPlan(input, bounds, { measure: async () => NaN })).rejects.toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("got NaN") }));
  });

  it("passes on what the run throws", async () => {
    await expect(verifyPlan(input, { bits: 3 }, { measure: async () => Promise.reject(new Error("stopped")) })).rejects.toThrow("stopped");
  });
});
