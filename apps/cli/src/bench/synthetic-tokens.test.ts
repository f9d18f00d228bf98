import { roundToHalf } from "@kvquant/packing";
import { expect, it } from "vitest";
import { makeSyntheticTokens } from "./synthetic-tokens.js";

const size = { kvHeads: 2, headDim: 32 };

it("synthetic tokens are fp16 numbers, the same for the same position, and differ from page to page", () => {
  const tokens = makeSyntheticTokens(size);
  const keys = new Float32Array(128 * tokens.columns);
  const values = new Float32Array(keys.length);
  tokens.fill(1000, 128, { keys, values });
  expect(keys.every((number) => roundToHalf(number) === number)).toBe(true);
  expect([...keys.subarray(5 * 64, 6 * 64)]).toEqual([...tokens.key(1005)]);
  expect([...values.subarray(5 * 64, 6 * 64)]).toEqual([...tokens.value(1005)]);
  expect([...keys.subarray(0, 64 * 64)]).not.toEqual([...keys.subarray(64 * 64)]);
});

it("a synthetic query tells tokens apart without singling one out", () => {
  const tokens = makeSyntheticTokens(size);
  const query = tokens.query(1);
  let squares = 0;
  for (let token = 0; token < 1024; token++) {
    const key = tokens.key(token);
    const score = query.reduce((sum, number, channel) => sum + number * key[channel]!, 0) / Math.sqrt(size.headDim);
    squares += (score * score) / 1024;
  }
  expect(Math.sqrt(squares)).toBeGreaterThan(0.3);
  expect(Math.sqrt(squares)).toBeLessThan(5);
});
