import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bootstrapQuantiles } from "./bootstrap-quantiles.js";
import { wilsonInterval } from "./wilson-interval.js";

/** Uniform random numbers in [0, 1) (Park and Miller 1988). */
function uniform(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

describe("wilsonInterval", () => {
  it("gives the published values for 0, 8 and 10 of 10", () => {
    // Independent arithmetic: ((p + z^2/2n) -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z = 1.95996.
    expect(wilsonInterval(8, 10).low).toBeCloseTo(0.490162, 6);
    expect(wilsonInterval(8, 10).high).toBeCloseTo(0.943318, 6);
    expect(wilsonInterval(10, 10).low).toBeCloseTo(0.722467, 6);
    expect(wilsonInterval(10, 10).high).toBe(1);
    expect(wilsonInterval(0, 10).low).toBe(0);
    expect(wilsonInterval(0, 10).high).toBeCloseTo(0.277533, 6);
    expect(wilsonInterval(0, 0)).toEqual({ low: 0, high: 1 });
  });

  it("holds the share, stays within 0 to 1 and is mirrored with successes and failures", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.nat(), (trials, draw) => {
        const successes = draw % (trials + 1);
        const { low, high } = wilsonInterval(successes, trials);
        const mirrored = wilsonInterval(trials - successes, trials);
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(1);
        expect(low).toBeLessThanOrEqual(successes / trials);
        expect(high).toBeGreaterThanOrEqual(successes / trials);
        expect(1 - mirrored.high).toBeCloseTo(low, 12);
      }),
    );
  });

  it("refuses counts that cannot be", () => {
    expect(() => wilsonInterval(3, 2)).toThrow(RangeError);
    expect(() => wilsonInterval(-1, 2)).toThrow(RangeError);
    expect(() => wilsonInterval(NaN, 2)).toThrow(RangeError);
  });
});

describe("bootstrapQuantiles", () => {
  it("holds the true median in about 95 of 100 samples of independent batches", () => {
    let held = 0;
    for (let sample = 1; sample <= 200; sample++) {
      const random = uniform(sample * 7919);
      for (let warm = 0; warm < 5; warm++) random();
      const values = Float64Array.from({ length: 640 }, random);
      const batches = Array.from({ length: 40 }, (_, index) => [16 * index, 16 * index + 16] as const);
      const [interval] = bootstrapQuantiles(values, { batches, fractions: [0.5], random, resamples: 200 });
      if (interval!.low <= 0.5 && interval!.high >= 0.5) held++;
    }
    expect(held).toBeGreaterThan(178);
    expect(held).toBeLessThan(200);
  });

  it("is wider for batches of equal values than for independent ones", () => {
    const random = uniform(5);
    const independent = Float64Array.from({ length: 640 }, random);
    const equal = Float64Array.from({ length: 640 }, (_, index) => independent[index - (index % 16)]!);
    const batches = Array.from({ length: 40 }, (_, index) => [16 * index, 16 * index + 16] as const);
    const width = (values: Float64Array): number => {
      const [interval] = bootstrapQuantiles(values, { batches, fractions: [0.5], random: uniform(9) });
      return interval!.high - interval!.low;
    };
    expect(width(equal)).toBeGreaterThan(2 * width(independent));
  });

  it("is the value itself where all are equal, and undefined below two batches", () => {
    const values = new Float64Array(10).fill(3);
    expect(bootstrapQuantiles(values, { batches: [[0, 5], [5, 10]], fractions: [0.5, 0.999], random: uniform(1) })).toEqual([{ low: 3, high: 3 }, { low: 3, high: 3 }]);
    expect(bootstrapQuantiles(values, { batches: [[0, 10]], fractions: [0.5], random: uniform(1) })).toEqual([undefined]);
  });
});
