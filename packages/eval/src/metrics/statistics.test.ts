import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createPairedPerplexity } from "./paired-perplexity.js";
import { quantile } from "./quantile.js";
import { createRunningMean } from "./running-mean.js";
import { createTokenScores } from "./token-scores.js";

const numbers = fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: 2, maxLength: 200 });
const average = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Deterministic uniform numbers in (0, 1) (Park and Miller 1988). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

/** Box and Muller (1958). */
function normalNumbers(seed: number): () => number {
  const uniform = randomNumbers(seed);
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

describe("createRunningMean", () => {
  it("agrees with the two-pass formulas", () => {
    fc.assert(
      fc.property(numbers, (values) => {
        const running = createRunningMean();
        for (const value of values) running.add(value);
        const mean = average(values);
        const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
        expect(running.count).toBe(values.length);
        expect(running.mean).toBeCloseTo(mean, 9);
        expect(running.standardError).toBeCloseTo(deviation / Math.sqrt(values.length), 9);
      }),
    );
  });

  it("keeps its precision far from zero", () => {
    const running = createRunningMean();
    for (const value of [1e9 + 1, 1e9 + 2, 1e9 + 3]) running.add(value);
    expect(running.standardError).toBeCloseTo(1 / Math.sqrt(3), 12);
  });

  it("has no error below two values, and no batch error below two batches", () => {
    const running = createRunningMean(4);
    expect(running.mean).toBeNaN();
    for (const value of [1, 2, 3]) running.add(value);
    expect(running.batchStandardError).toBeUndefined();
    running.add(4);
    expect(running.batchStandardError).toBeUndefined();
    running.add(5);
    expect(running.batchStandardError).toBeGreaterThan(0);
    expect(() => createRunningMean(0)).toThrow(RangeError);
  });

  it("equals the plain error with batches of one", () => {
    fc.assert(
      fc.property(numbers, (values) => {
        const running = createRunningMean(1);
        for (const value of values) running.add(value);
        expect(running.batchStandardError).toBeCloseTo(running.standardError!, 9);
      }),
    );
  });

  it("equals the error of batch averages when batches are equal", () => {
    const values = [1, 5, 2, 8, 3, 3, 9, 0];
    const running = createRunningMean(2);
    for (const value of values) running.add(value);
    const means = [3, 5, 3, 4.5];
    const center = average(means);
    expect(running.batchStandardError).toBeCloseTo(Math.sqrt(means.reduce((sum, mean) => sum + (mean - center) ** 2, 0) / 3 / 4), 12);
  });

  it("finds the true error of correlated values, which the plain one misses", () => {
    // x_t = 0.9 x_(t-1) + e_t, variance of e 1: the mean's variance is about 1 / (1 - 0.9)^2 / n.
    const normal = normalNumbers(7);
    const running = createRunningMean(200);
    let x = 0;
    const count = 200_000;
    for (let index = 0; index < count; index++) {
      x = 0.9 * x + normal();
      running.add(x);
    }
    const truth = 10 / Math.sqrt(count);
    expect(running.batchStandardError! / truth).toBeGreaterThan(0.85);
    expect(running.batchStandardError! / truth).toBeLessThan(1.1);
    expect(running.standardError! / truth).toBeLessThan(0.3);
  });

  it("never joins values on both sides of endBatch", () => {
    const running = createRunningMean(100);
    for (const value of [1, 1, 1]) running.add(value);
    running.endBatch();
    running.endBatch();
    for (const value of [3, 3, 3]) running.add(value);
    expect(running.batchStandardError).toBeCloseTo(1, 12);
  });
});

describe("quantile", () => {
  it("interpolates between order statistics as NumPy does", () => {
    const values = [7, 1, 3, 10];
    // numpy.quantile([7, 1, 3, 10], [0, .25, .5, .9, 1])
    expect([0, 0.25, 0.5, 0.9, 1].map((fraction) => quantile(values, fraction))).toEqual([1, 2.5, 5, 9.1, 10].map((value) => expect.closeTo(value, 12) as number));
    expect(values).toEqual([7, 1, 3, 10]);
    expect(quantile([5], 0.999)).toBe(5);
    expect(quantile([], 0.5)).toBeNaN();
    expect(() => quantile(values, 1.5)).toThrow(RangeError);
  });
});

describe("createPairedPerplexity", () => {
  it("gives exp of the mean and the difference of both", () => {
    const pair = createPairedPerplexity();
    pair.add(Math.log(2), Math.log(4));
    pair.add(Math.log(8), Math.log(4));
    pair.add(Math.log(16), Math.log(8));
    expect(pair.perplexity).toBeCloseTo((2 * 8 * 16) ** (1 / 3), 12);
    expect(pair.referencePerplexity).toBeCloseTo((4 * 4 * 8) ** (1 / 3), 12);
    expect(pair.deltaPerplexity).toBeCloseTo(pair.perplexity - pair.referencePerplexity, 12);
  });

  it("has no error where both runs are equal, however wide they scatter", () => {
    const normal = normalNumbers(3);
    const pair = createPairedPerplexity(1);
    for (let index = 0; index < 1000; index++) {
      const loss = 3 + normal();
      pair.add(loss, loss);
    }
    expect(pair.deltaPerplexity).toBe(0);
    expect(pair.deltaPerplexityError).toBeLessThan(1e-12);
    expect(pair.perplexityError).toBeGreaterThan(0.1);
  });

  it("states the scatter that delta really has over repeated texts", () => {
    const normal = normalNumbers(11);
    const deltas: number[] = [];
    const errors: number[] = [];
    for (let text = 0; text < 400; text++) {
      const pair = createPairedPerplexity(1);
      for (let index = 0; index < 500; index++) {
        const reference = 2.5 + 0.8 * normal();
        pair.add(reference + 0.1 + 0.3 * normal() + 0.1 * (reference - 2.5), reference);
      }
      deltas.push(pair.deltaPerplexity);
      errors.push(pair.deltaPerplexityError!);
    }
    const center = average(deltas);
    const scatter = Math.sqrt(deltas.reduce((sum, delta) => sum + (delta - center) ** 2, 0) / (deltas.length - 1));
    // 400 texts give the scatter itself to 3.5%; three times that.
    expect(average(errors) / scatter).toBeGreaterThan(0.89);
    expect(average(errors) / scatter).toBeLessThan(1.11);
  });
});

describe("createTokenScores", () => {
  it("summarizes brute force over more tokens than it first has room for", () => {
    const uniform = randomNumbers(5);
    const scores = createTokenScores();
    const divergences: number[] = [];
    let agreeing = 0;
    for (let index = 0; index < 3000; index++) {
      const divergence = uniform() ** 4;
      const agrees = uniform() < 0.8;
      divergences.push(divergence);
      if (agrees) agreeing++;
      scores.add({ divergence, agrees, negativeLogLikelihood: 2 + divergence, referenceNegativeLogLikelihood: 2 });
      if (index % 1000 === 999) scores.endWindow();
    }
    const summary = scores.summarize();
    const sorted = [...divergences].sort((a, b) => a - b);
    expect(summary.tokensScored).toBe(3000);
    expect(summary.kldMean).toBeCloseTo(average(divergences), 12);
    expect(summary.kldMedian).toBeCloseTo((sorted[1499]! + sorted[1500]!) / 2, 12);
    expect(summary.kld999).toBeCloseTo(sorted[2996]! + 0.001 * (sorted[2997]! - sorted[2996]!), 10);
    expect(summary.top1).toBeCloseTo(agreeing / 3000, 12);
    expect(summary.deltaPerplexity).toBeCloseTo(Math.exp(2) * (Math.exp(average(divergences)) - 1), 9);
  });
});
