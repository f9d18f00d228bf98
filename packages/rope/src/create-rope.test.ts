import { describe, expect, test } from "vitest";
import { createRope } from "./create-rope.js";
import type { RopeConfig } from "./rope-config.js";
import { ropeFrequencies } from "./rope-frequencies.js";

const smollm: RopeConfig = { headDim: 64, rotaryDim: 64, base: 10_000, scaling: { type: "none" } };

// Fixed-point arithmetic on BigInt with 256 bits after the point, independent of Math.cos, Math.pow and doubles.
const POINT = 256n;
const ONE = 1n << POINT;
const multiply = (a: bigint, b: bigint): bigint => (a * b) >> POINT;

/** arctan(1 / n). */
function inverseTangentOf(n: bigint): bigint {
  let power = ONE / n;
  let sum = power;
  for (let odd = 3n, sign = -1n; power !== 0n; odd += 2n, sign = -sign) {
    power /= n * n;
    sum += (sign * power) / odd;
  }
  return sum;
}

const TWO_PI = 8n * (4n * inverseTangentOf(5n) - inverseTangentOf(239n));

/** ln(numerator / denominator) = 2 artanh((numerator - denominator) / (numerator + denominator)), for ratios near 1. */
function logarithmOfRatio(numerator: bigint, denominator: bigint): bigint {
  const ratio = ((numerator - denominator) * ONE) / (numerator + denominator);
  let power = ratio;
  let sum = 0n;
  for (let odd = 1n; power > 0n; odd += 2n) {
    sum += power / odd;
    power = multiply(power, multiply(ratio, ratio));
  }
  return 2n * sum;
}

/** ln(n) for an integer n, its powers of two taken out. */
function logarithm(n: bigint): bigint {
  const halvings = BigInt(n.toString(2).length - 1);
  return halvings * logarithmOfRatio(2n, 1n) + logarithmOfRatio(n, 1n << halvings);
}

/** exp(x) for x from 0 to 20. */
function exponential(x: bigint): bigint {
  let term = ONE;
  let sum = ONE;
  for (let k = 1n; term > 0n; k++) {
    term = multiply(term, x) / k;
    sum += term;
  }
  return sum;
}

/** Cosine and sine by their series, as doubles. */
function cosineAndSine(angle: bigint): [number, number] {
  const reduced = angle % TWO_PI;
  const toNumber = (x: bigint): number => Number(x >> 180n) / 2 ** 76;
  let cosine = 0n;
  let sine = 0n;
  for (let k = 0n, term = ONE; term > 0n; k++, term = multiply(term, reduced) / k) {
    const sign = k % 4n < 2n ? 1n : -1n;
    if (k % 2n === 0n) cosine += sign * term;
    else sine += sign * term;
  }
  return [toNumber(cosine), toNumber(sine)];
}

/** base^(-2 pair / dim) to about 240 bits, for every pair. */
function preciseFrequencies(config: RopeConfig): bigint[] {
  const logarithmOfBase = logarithm(BigInt(config.base));
  return Array.from({ length: config.rotaryDim / 2 }, (_, pair) => (ONE * ONE) / exponential((2n * BigInt(pair) * logarithmOfBase) / BigInt(config.rotaryDim)));
}

describe("the high-precision oracle", () => {
  test("knows 2 pi, e, ln 10, cos 1 and sin 1", () => {
    expect(Number(TWO_PI >> 180n) / 2 ** 76).toBe(2 * Math.PI);
    expect(Number(exponential(ONE) >> 180n) / 2 ** 76).toBe(Math.E);
    expect(Number(logarithm(10n) >> 180n) / 2 ** 76).toBe(Math.LN10);
    expect(cosineAndSine(ONE)).toEqual([0.5403023058681398, 0.8414709848078965]);
  });
});

describe("createRope", () => {
  test.each([
    ["base 10,000", smollm],
    ["base 500,000", { headDim: 128, rotaryDim: 128, base: 500_000, scaling: { type: "none" } } satisfies RopeConfig],
  ])("tables at positions up to 10,000,000 are right to 1e-6 rad (%s)", (_name, config) => {
    const rope = createRope(config);
    const frequencies = preciseFrequencies(config);
    let worst = 0;
    for (const position of [0, 1, 4095, 4096, 131_071, 1_000_003, 9_999_991, 10_000_000]) {
      const { cos, sin } = rope.tables(position, 1, position + 1);
      for (let pair = 0; pair < config.rotaryDim / 2; pair++) {
        const [cosine, sine] = cosineAndSine(BigInt(position) * frequencies[pair]!);
        // The angle between the fp32 table entry and the true direction.
        worst = Math.max(worst, Math.abs(Math.atan2(sin[pair]! * cosine - cos[pair]! * sine, cos[pair]! * cosine + sin[pair]! * sine)));
        // fp32 rounding is 2^-25, the double angle adds up to 4e-9.
        expect(Math.abs(cos[pair]! - cosine)).toBeLessThan(3.5e-8);
        expect(Math.abs(sin[pair]! - sine)).toBeLessThan(3.5e-8);
      }
    }
    expect(worst).toBeLessThan(1e-7);
  });

  test("the oracle would notice an angle computed in fp32", () => {
    const [cosine] = cosineAndSine(10_000_000n * preciseFrequencies(smollm)[5]!);
    const single = Math.fround(10_000_000 * Math.fround(10_000 ** (-10 / 64)));
    expect(Math.abs(Math.cos(single) - cosine)).toBeGreaterThan(1e-3);
  });

  test("tables from any start equal cosines and sines of position times frequency", () => {
    const rope = createRope(smollm);
    const { inverseFrequencies } = ropeFrequencies(smollm);
    for (const [start, count] of [[0, 5], [3, 4], [4090, 20], [100, 0], [1_000_000, 3], [2, 5000], [6000, 2]] as const) {
      const table = rope.tables(start, count, start + count);
      expect([table.start, table.count, table.cos.length, table.sin.length]).toEqual([start, count, count * 32, count * 32]);
      for (let index = 0; index < count * 32; index++) {
        const angle = (start + Math.floor(index / 32)) * inverseFrequencies[index % 32]!;
        if (table.cos[index] !== Math.fround(Math.cos(angle)) || table.sin[index] !== Math.fround(Math.sin(angle))) expect.fail(`start ${start}, index ${index}`);
      }
    }
  });

  test("near tables share one growing buffer, and a table handed out never changes", () => {
    const rope = createRope(smollm);
    const early = rope.tables(0, 3, 3);
    const copy = early.cos.slice();
    const large = rope.tables(0, 1000, 1000);
    expect(rope.tables(17, 5, 1000).cos.buffer).toBe(large.cos.buffer);
    expect(rope.tables(0, 1000, 1000).cos.byteOffset).toBe(0);
    expect(early.cos).toEqual(copy);
    expect(large.cos.subarray(0, copy.length)).toEqual(copy);
  });

  test("a far jump does not fill the positions before it, but decoding on from the end grows the table", () => {
    const rope = createRope(smollm);
    expect(rope.tables(9_000_000, 64, 9_000_064).cos.buffer.byteLength).toBe(64 * 32 * 4);
    rope.tables(0, 5000, 5000);
    const next = rope.tables(5000, 1, 5001);
    expect(next.cos.buffer.byteLength).toBeGreaterThanOrEqual(5001 * 32 * 4);
    expect(rope.tables(5001, 1, 5002).cos.buffer).toBe(next.cos.buffer);
  });

  test("dynamic costs nothing up to its original length: every such length shares one table", () => {
    const rope = createRope({ ...smollm, scaling: { type: "dynamic", factor: 4, maxPositionEmbeddings: 2048 } });
    expect(rope.dependsOnLength).toBe(true);
    const first = rope.tables(0, 2048, 2048);
    expect(rope.tables(0, 100, 1).cos.buffer).toBe(first.cos.buffer);
    rope.tables(0, 2049, 2049);
    expect(rope.tables(5, 100, 300).cos.buffer).toBe(first.cos.buffer);
    expect(first.cos).toEqual(createRope(smollm).tables(0, 2048, 2048).cos);
  });

  test("dynamic past its original length rotates all positions with the base of the current length", () => {
    const scaling = { type: "dynamic", factor: 4, maxPositionEmbeddings: 2048 } as const;
    const rope = createRope({ ...smollm, scaling });
    for (const length of [2049, 4096, 2049]) {
      const { inverseFrequencies } = ropeFrequencies({ ...smollm, scaling }, length);
      const table = rope.tables(0, length, length);
      for (const position of [1, 100, 2048]) expect(table.cos[position * 32 + 9]).toBe(Math.fround(Math.cos(position * inverseFrequencies[9]!)));
      expect(rope.tables(7, 10, length).cos.buffer).toBe(table.cos.buffer);
    }
  });

  test("longrope keeps its short table while the long one is in use", () => {
    const longFactor = Array.from({ length: 32 }, (_, i) => i + 1);
    const rope = createRope({ ...smollm, scaling: { type: "longrope", factor: 4, shortFactor: Array<number>(32).fill(1), longFactor, originalMaxPositionEmbeddings: 100 } });
    expect(rope.dependsOnLength).toBe(true);
    const short = rope.tables(0, 100, 100);
    const long = rope.tables(0, 200, 200);
    expect(long.cos[32 + 3]).toBe(Math.fround(Math.cos(10_000 ** (-6 / 64) / 4)));
    expect(rope.tables(0, 150, 300).cos.buffer).toBe(long.cos.buffer);
    expect(rope.tables(0, 50, 50).cos.buffer).toBe(short.cos.buffer);
    expect(long.attentionFactor).toBeCloseTo(Math.sqrt(1 + Math.log(4) / Math.log(100)), 14);
  });

  test("rules with fixed frequencies do not depend on the length", () => {
    const rope = createRope({ ...smollm, scaling: { type: "linear", factor: 2 } });
    expect(rope.dependsOnLength).toBe(false);
    expect(rope.tables(0, 10, 10).cos).toEqual(rope.tables(0, 10, 1_000_000).cos);
  });

  test("a negative or fractional position is refused", () => {
    const rope = createRope(smollm);
    expect(() => rope.tables(-1, 1, 1)).toThrow(/tables: position/);
    expect(() => rope.tables(0.5, 1, 1)).toThrow(/tables: position/);
    expect(() => rope.tables(0, NaN, 1)).toThrow(/tables: count/);
    expect(() => rope.tables(0, -1, 1)).toThrow(/tables: count/);
    expect(() => rope.tables(0, 1, -1)).toThrow(/tables: sequenceLength/);
    expect(rope.tables(0, 0, 0).count).toBe(0);
  });
});
