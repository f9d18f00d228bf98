import { expect, it } from "vitest";
import { parseBytes, parseTokens } from "./plan-sizes.js";

it("reads counts of tokens with and without a unit", () => {
  expect(["8192", "256k", "1M", "1.5K"].map(parseTokens)).toEqual([8192, 262_144, 1_048_576, 1536]);
});

it("reads binary and decimal sizes", () => {
  expect(["24GiB", "24GB", "1.5 mib", "100B"].map(parseBytes)).toEqual([25_769_803_776, 24_000_000_000, 1_572_864, 100]);
});

it.each(["", "k", "-1", "0", "12x", "1e3", "0x10", "NaN", "1GiB", "1,000"])("refuses %j as tokens, naming what it expects", (text) => {
  expect(() => parseTokens(text)).toThrow(/such as 8192, 256k or 1M/);
});

it.each(["", "24", "GiB", "-1GiB", "0MiB", "5 apples", "1e400B"])("refuses %j as a size, naming what it expects", (text) => {
  expect(() => parseBytes(text)).toThrow(/such as 24GiB, 512MiB or 24GB/);
});
