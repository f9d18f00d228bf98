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

  it("refuses logits of NaN, wherever they are, and takes those that a mask made infinite", () => {
    for (const place of [0, 4]) {
      const broken = logits.slice();
      broken[place] = NaN;
      for (const temperature of [0, 1]) expect(() => sampleToken(broken, { temperature }, () => 0.5)).toThrow(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringContaining(`token ${place}`) }));
    }
    expect(sampleToken(Float32Array.of(-Infinity, 1, -Infinity), { temperature: 1 }, () => 0.5)).toBe(1);
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
    expect(sampleToken(logits, { repetitionPenalty: 2 }, () => 0, { present: new Set([1]) })).toBe(3);
    expect(sampleToken(Float32Array.of(-1, -1.5), { repetitionPenalty: 2 }, () => 0, { present: new Set([0]) })).toBe(1);
  });

  it("takes the presence penalty once and the frequency penalty each time off tokens generated so far", () => {
    const generated = new Map([[1, 1], [3, 3]]);
    const scores = Float32Array.of(1, 3, 2, 3.5, -1);
    const best = (sampling: Sampling) => sampleToken(scores, sampling, () => 0, { generated, present: new Set([0, 1, 2, 3, 4]) });
    expect(best({ presencePenalty: 0.4 })).toBe(3);
    expect(best({ frequencyPenalty: 0.4 })).toBe(1);
    expect(best({ presencePenalty: 0.8, frequencyPenalty: 0.4 })).toBe(2);
    expect(best({ presencePenalty: -2 })).toBe(3);
    expect([...scores]).toEqual([1, 3, 2, 3.5, -1]);
  });

  it("adds the bias to its tokens alone, after the penalties", () => {
    expect(sampleToken(logits, { logitBias: new Map([[4, 5]]) }, () => 0)).toBe(4);
    expect(sampleToken(logits, { logitBias: new Map([[1, -100], [3, -100]]) }, () => 0)).toBe(2);
    expect(countDraws({ temperature: 1, logitBias: new Map([[1, -100]]) })[1]).toBe(0);
  });

  it("chooses what a full sort of all tokens chooses", () => {
    const random = createRandom(11);
    for (let trial = 0; trial < 300; trial++) {
      const count = 1 + Math.floor(random() * 300);
      // Coarse values make ties; every third trial has them all equal, every fifth has tokens ruled out.
      const scores = Float32Array.from({ length: count }, () => (trial % 3 === 0 ? 1 : trial % 5 === 0 && random() < 0.2 ? -Infinity : Math.round(random() * 80 - 40) / (1 + (trial % 4))));
      if (!scores.some(Number.isFinite)) continue;
      const sampling = { temperature: 0.2 + 3 * random(), topK: trial % 2 === 0 ? 0 : Math.floor(random() * 400), topP: trial % 4 < 2 ? 1 : 0.05 + 0.9 * random(), minP: trial % 7 === 0 ? random() * 0.5 : 0 };
      const draw = random();
      expect(sampleToken(scores, sampling, () => draw), JSON.stringify(sampling)).toBe(sampleBySorting(scores, sampling, draw));
    }
  });

  it.each([{ temperature: -1 }, { temperature: NaN }, { topK: 1.5 }, { topP: 0 }, { topP: 1.1 }, { minP: 1 }, { repetitionPenalty: 0 }, { presencePenalty: NaN }, { frequencyPenalty: Infinity }, { logitBias: new Map([[-1, 0]]) }, { logitBias: new Map([[0, NaN]]) }, { logitBias: new Map([[9, 1]]) }])("refuses %j", (sampling) => {
    expect(() => checkSampling(sampling, 5)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});

/** The same rules over a sorted list. */
function sampleBySorting(scores: Float32Array, { temperature, topK, topP, minP }: { temperature: number; topK: number; topP: number; minP: number }, draw: number): number {
  let order = Array.from(scores, (score, token) => ({ score, token })).sort((a, b) => b.score - a.score || a.token - b.token);
  if (topK > 0) order = order.slice(0, topK);
  const weighed = order.map(({ score, token }) => ({ token, weight: Math.exp((score - order[0]!.score) / temperature) })).filter(({ weight }) => weight >= minP);
  const total = weighed.reduce((sum, { weight }) => sum + weight, 0);
  let reached = 0;
  const nucleus = weighed.slice(0, topP === 1 ? undefined : weighed.findIndex(({ weight }) => (reached += weight) >= topP * total) + 1);
  let target = draw * nucleus.reduce((sum, { weight }) => sum + weight, 0);
  return (nucleus.find(({ weight }) => (target -= weight) < 0) ?? nucleus.at(-1)!).token;
}

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
