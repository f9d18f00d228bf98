import { createRandom } from "@kvquant/model";
import { describe, expect, it } from "vitest";
import { createExactAttention } from "./exact-attention.js";

/** Half-split rotation of a vector to a position, written out. */
function rotate(vector: readonly number[], position: number, base: number): number[] {
  const pairs = vector.length / 2;
  const out = new Array<number>(vector.length);
  for (let pair = 0; pair < pairs; pair++) {
    const angle = position / base ** (pair / pairs);
    out[pair] = vector[pair]! * Math.cos(angle) - vector[pair + pairs]! * Math.sin(angle);
    out[pair + pairs] = vector[pair]! * Math.sin(angle) + vector[pair + pairs]! * Math.cos(angle);
  }
  return out;
}

describe("attention in float64", () => {
  it("is the softmax over rotated keys, whatever the order of the tokens", () => {
    const [headDim, tokens, base] = [8, 37, 1000];
    const random = createRandom(3);
    const numbers = (count: number): Float32Array => Float32Array.from({ length: count }, () => 4 * random() - 2);
    const [query, keys, values] = [numbers(headDim), numbers(tokens * headDim), numbers(tokens * headDim)];

    const asked = rotate([...query], tokens - 1, base);
    const scores = Array.from({ length: tokens }, (_, token) => {
      const key = rotate([...keys.subarray(token * headDim, (token + 1) * headDim)], token, base);
      return key.reduce((sum, number, channel) => sum + number * asked[channel]!, 0) / Math.sqrt(headDim);
    });
    const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
    const expected = Array.from({ length: headDim }, (_, channel) => scores.reduce((sum, score, token) => sum + (Math.exp(score) / total) * values[token * headDim + channel]!, 0));

    for (const order of [(token: number) => token, (token: number) => tokens - 1 - token]) {
      const attention = createExactAttention({ query, position: tokens - 1, ropeBase: base });
      for (let index = 0; index < tokens; index++) attention.add(order(index), { key: keys, value: values, offset: order(index) * headDim });
      attention.result().forEach((channel, index) => expect(channel).toBeCloseTo(expected[index]!, 12));
    }
  });
});
