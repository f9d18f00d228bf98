import { expect, test } from "vitest";
import { randomUniform } from "./random-uniform.js";

/** xorshift32 with the shifts 13, 17, 5 in integers without a sign. */
function states(seed: bigint, count: number): bigint[] {
  const all: bigint[] = [];
  for (let state = seed; all.length < count; all.push(state)) {
    state = BigInt.asUintN(32, state ^ (state << 13n));
    state ^= state >> 17n;
    state = BigInt.asUintN(32, state ^ (state << 5n));
  }
  return all;
}

test("numbers are the upper 24 bits of xorshift32, from any 32-bit seed", () => {
  // Marsaglia 2003 starts at 2463534242; 723471715 is the first number he prints.
  expect(states(2463534242n, 1)).toEqual([723471715n]);
  for (const seed of [2463534242, 1, 0xffffffff]) {
    const next = randomUniform(seed);
    expect(states(BigInt(seed), 200).map(next)).toEqual(states(BigInt(seed), 200).map((state) => Number(state >> 8n) / 2 ** 24));
  }
});

test("seed 0, which xorshift32 never leaves, is seed 1", () => {
  expect(randomUniform(0)()).toBe(randomUniform(1)());
});
