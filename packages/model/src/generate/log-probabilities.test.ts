import { describe, expect, it } from "vitest";
import { logProbabilitiesOf } from "./log-probabilities.js";

describe("logProbabilitiesOf", () => {
  const logits = Float32Array.of(1, 3, 2, 3, -1);
  const weights = Array.from(logits, Math.exp);
  const expected = weights.map((weight) => Math.log(weight / weights.reduce((sum, other) => sum + other)));

  it("gives the log-softmax of the token and of the likeliest ones, ties to the lower id", () => {
    const { logprob, top } = logProbabilitiesOf(logits, 4, 3);
    expect(logprob).toBeCloseTo(expected[4]!, 12);
    expect(top.map(({ token }) => token)).toEqual([1, 3, 2]);
    for (const entry of top) expect(entry.logprob).toBeCloseTo(expected[entry.token]!, 12);
  });

  it("gives no list for 0 and all tokens for more than there are", () => {
    expect(logProbabilitiesOf(logits, 0, 0).top).toEqual([]);
    expect(logProbabilitiesOf(logits, 0, 9).top.map(({ token }) => token)).toEqual([1, 3, 2, 0, 4]);
  });

  it("survives logits that exp cannot hold", () => {
    expect(logProbabilitiesOf(Float32Array.of(5000, 5000), 0, 1).logprob).toBeCloseTo(-Math.LN2, 6);
  });
});
