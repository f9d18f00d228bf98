import { describe, expect, it } from "vitest";
import { createRandom } from "./random.js";
import { argmax, checkSampling, sampleToken } from "./sample-token.js";
import type { Sampling } from "./sample-token.js";

const logits = Float32Array.of(1, 3, 2, 3, -1);

/** How often each token comes up in many draws. */
function countDraws(sampling: Sampling, draws = 20_000): number[] {
  const random = createRandom(7);
  const counts = Array.from(logits, () => 0);
  for (let draw = 0; draw < draws; draw++) counts[sampleToken(logits, sampling, random)]!++;
  return counts.map((count) => count / draws);
}

describe("sampleToken", () => {
  it("takes the first of the most likely tokens at temperature 0", () => {
    expect(sampleToken(logits, { temperature: 0 }, () => 0.99)).toBe(1);
    expect(argmax(logits)).toBe(1);
  });

  it("draws tokens as often as softmax(logits / temperature) says", () => {
    const temperature = 1.5;
    const weights = Array.from(logits, (logit) => Math.exp(logit / temperature));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    countDraws({ temperature }).forEach((share, token) => expect(share).toBeCloseTo(weights[token]! / total, 1.8));
  });

  it("keeps only the k most likely tokens, ties to the lower id", () => {
    const shares = countDraws({ temperature: 1, topK: 1 });
    expect(shares).toEqual([0, 1, 0, 0, 0]);
    expect(countDraws({ temperature: 1, topK: 3 }).map((share) => share > 0)).toEqual([false, true, true, true, false]);
  });

  it("keeps the smallest set that reaches top-p", () => {
    // softmax: 0.051 0.379 0.139 0.379 0.0069...
    expect(countDraws({ temperature: 1, topP: 0.7 }).map((share) => share > 0)).toEqual([false, true, false, true, false]);
    expect(countDraws({ temperature: 1, topP: 0.85 }).map((share) => share > 0)).toEqual([false, true, true, true, false]);
  });

  it("drops tokens less likely than min-p times the best", () => {
    expect(countDraws({ temperature: 1, minP: 0.5 }).map((share) => share > 0)).toEqual([false, true, false, true, false]);
  });

  it("penalises tokens already present, whatever the sign of their logit", () => {
    expect(sampleToken(logits, { repetitionPenalty: 2 }, () => 0, new Set([1]))).toBe(3);
    expect(sampleToken(Float32Array.of(-1, -1.5), { repetitionPenalty: 2 }, () => 0, new Set([0]))).toBe(1);
  });

  it.each([{ temperature: -1 }, { temperature: NaN }, { topK: 1.5 }, { topP: 0 }, { topP: 1.1 }, { minP: 1 }, { repetitionPenalty: 0 }])("refuses %j", (sampling) => {
    expect(() => checkSampling(sampling)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});

describe("createRandom", () => {
  it("repeats for a seed, differs between seeds, and covers [0, 1) evenly", () => {
    const draw = (seed: number) => Array.from({ length: 4000 }, createRandom(seed));
    expect(draw(3)).toEqual(draw(3));
    expect(draw(3)).not.toEqual(draw(4));
    const values = draw(5);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...values)).toBeLessThan(1);
    expect(values.reduce((sum, value) => sum + value, 0) / values.length).toBeCloseTo(0.5, 1.5);
  });
});
