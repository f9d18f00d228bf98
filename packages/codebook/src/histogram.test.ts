import { KvquantError } from "@kvquant/spec";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addSample, addSamples, createHistogram, mergeHistogram } from "./histogram.js";

const finite = fc.float({ min: -3, max: 3, noNaN: true });
const weight = fc.float({ min: 0, max: 10, noNaN: true });

describe("histograms", () => {
  test("a sample counts in the bin that holds it, the maximum in the last bin", () => {
    const histogram = createHistogram(4, -1, 1);
    for (const value of [-1, -0.51, -0.5, 0, 0.49, 0.5, 1]) addSample(histogram, value, 1);
    expect([...histogram.weight]).toEqual([2, 1, 2, 2]);
    expect(histogram.weightedSum[2]).toBe(0.49);
  });

  test("values outside the range count in the end bins at their true value", () => {
    const histogram = createHistogram(2, 0, 1);
    addSample(histogram, -5, 2);
    addSample(histogram, 7, 1);
    expect([...histogram.weight]).toEqual([2, 1]);
    expect([...histogram.weightedSum]).toEqual([-10, 7]);
  });

  test("no weight and no moment is lost, whatever the samples", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(finite, weight)), fc.integer({ min: 1, max: 50 }), (samples, bins) => {
        const histogram = createHistogram(bins, -1, 1);
        for (const [value, w] of samples) addSample(histogram, value, w);
        const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);
        expect(sum(histogram.weight)).toBeCloseTo(sum(samples.map(([, w]) => w)), 8);
        expect(sum(histogram.weightedSum)).toBeCloseTo(sum(samples.map(([value, w]) => w * value)), 8);
      }),
    );
  });

  test("adding many at once and merging halves give what adding one by one gives", () => {
    const values = Float32Array.from({ length: 100 }, (_, i) => Math.sin(i));
    const weights = Float32Array.from({ length: 100 }, (_, i) => i % 7);
    const one = createHistogram(16, -1, 1);
    for (let i = 0; i < 100; i++) addSample(one, values[i]!, weights[i]!);
    const many = createHistogram(16, -1, 1);
    addSamples(many, values, weights);
    expect(many).toEqual(one);
    const left = createHistogram(16, -1, 1);
    const right = createHistogram(16, -1, 1);
    addSamples(left, values.subarray(0, 50), weights.subarray(0, 50));
    addSamples(right, values.subarray(50), weights.subarray(50));
    mergeHistogram(left, right);
    for (let bin = 0; bin < 16; bin++) {
      expect(left.weight[bin]).toBeCloseTo(one.weight[bin]!, 12);
      expect(left.weightedSum[bin]).toBeCloseTo(one.weightedSum[bin]!, 12);
    }
    const counted = createHistogram(16, -1, 1);
    addSamples(counted, values);
    expect(counted.weight.reduce((a, b) => a + b)).toBe(100);
  });

  test.each([
    ["NaN", NaN, 1],
    ["infinity", Infinity, 1],
    ["infinity of weight 0", -Infinity, 0],
    ["a negative weight", 0, -1],
    ["a NaN weight", 0, NaN],
    ["an infinite weight", 0, Infinity],
    ["a moment beyond float64", -1e300, 1e10],
  ])("%s is refused and leaves the histogram unchanged", (_name, value, w) => {
    const histogram = createHistogram(4, -1, 1);
    let error: unknown;
    try {
      addSample(histogram, value, w);
    } catch (thrown) {
      error = thrown;
    }
    expect(KvquantError.isInstance(error) && error.code).toBe("INVALID_ARGUMENT");
    expect(histogram).toEqual(createHistogram(4, -1, 1));
  });

  test("an empty range, no bins, and merging unlike histograms are refused", () => {
    expect(() => createHistogram(4, 1, 1)).toThrow(/range/);
    expect(() => createHistogram(4, -Infinity, 1)).toThrow(/range/);
    expect(() => createHistogram(0, -1, 1)).toThrow(/bins/);
    expect(() => mergeHistogram(createHistogram(4, -1, 1), createHistogram(4, -1, 2))).toThrow(/mergeHistogram/);
    expect(() => addSamples(createHistogram(4, -1, 1), new Float32Array(2), new Float32Array(3))).toThrow(/weights/);
  });

  test("a range that is not finite, or upside down, bins that are no number of bins, and unlike halves are refused", () => {
    for (const [minimum, maximum] of [[-1, Infinity], [NaN, 1], [-1, NaN], [1, -1], [-1e308, 1e308]] as const) expect(() => createHistogram(4, minimum, maximum)).toThrow(/range: expected finite minimum < maximum/);
    for (const bins of [1.5, -1, NaN]) expect(() => createHistogram(bins, -1, 1)).toThrow(/bins/);
    const target = createHistogram(4, -1, 1);
    for (const source of [createHistogram(5, -1, 1), createHistogram(4, -2, 1), createHistogram(4, -1, 2)]) expect(() => mergeHistogram(target, source)).toThrow(/mergeHistogram/);
    const one = createHistogram(1, 0, 2);
    addSample(one, 1.5, 4);
    expect([one.weight[0], one.weightedSum[0]]).toEqual([4, 6]);
  });
});
