import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeHalf, encodeHalf, floatFromHalf, halfFromFloat, roundToHalf } from "./half.js";

/** Value by the definition in IEEE 754: (-1)^s * 2^(e - 15) * 1.m, or 2^-14 * 0.m when e = 0. */
function valueByDefinition(bits: number): number {
  const sign = bits >= 0x8000 ? -1 : 1;
  const exponent = Math.floor((bits % 0x8000) / 1024);
  const mantissa = bits % 1024;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * 2 ** -24 * mantissa : sign * 2 ** (exponent - 15) * (1 + mantissa / 1024);
}

/** A double as an exact integer multiple of 2^-1074. */
function exactly(x: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  const bits = view.getBigUint64(0);
  const exponent = (bits >> 52n) & 0x7ffn;
  const mantissa = bits & 0xfffffffffffffn;
  const magnitude = exponent === 0n ? mantissa : (mantissa | (1n << 52n)) << (exponent - 1n);
  return bits >> 63n ? -magnitude : magnitude;
}

/** Nearest pattern by searching all positive ones with exact arithmetic; 2^16 stands for infinity, as in IEEE 754. */
function nearestBySearch(x: number): number {
  const target = exactly(Math.abs(x));
  const value = (bits: number): bigint => exactly(bits === 0x7c00 ? 65536 : valueByDefinition(bits));
  let low = 0;
  let high = 0x7c00;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (value(middle) <= target) low = middle;
    else high = middle;
  }
  const below = target - value(low);
  const above = value(high) - target;
  const nearest = below < above ? low : above < below ? high : low % 2 === 0 ? low : high;
  return nearest + (x < 0 || Object.is(x, -0) ? 0x8000 : 0);
}

describe("half", () => {
  it("decodes all 65,536 patterns as IEEE 754 defines them, and encodes each value back", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = floatFromHalf(bits);
      const expected = valueByDefinition(bits);
      if (!Object.is(value, expected)) expect.fail(`pattern ${bits}: ${value} instead of ${expected}`);
      const back = halfFromFloat(value);
      if (back !== (Number.isNaN(value) ? 0x7e00 : bits)) expect.fail(`pattern ${bits} came back as ${back}`);
    }
  });

  it("rounds every midpoint between neighbours to the even one, and a hair beside it to the nearer one", () => {
    for (let bits = 0; bits < 0x7c00; bits++) {
      const upper = bits === 0x7bff ? 65536 : valueByDefinition(bits + 1);
      const middle = (valueByDefinition(bits) + upper) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const found = [halfFromFloat(middle), halfFromFloat(middle * (1 - 2 ** -52)), halfFromFloat(middle * (1 + 2 ** -52)), halfFromFloat(-middle)];
      const expected = [even, bits, bits + 1, even + 0x8000];
      if (found.some((code, i) => code !== expected[i])) expect.fail(`beside pattern ${bits}: ${found.join()} instead of ${expected.join()}`);
    }
  });

  it("agrees with an exact search for any double", () => {
    const magnitudes = fc.tuple(fc.double({ min: -2, max: 2, noNaN: true }), fc.integer({ min: -30, max: 18 })).map(([m, e]) => m * 2 ** e);
    fc.assert(
      fc.property(fc.oneof(magnitudes, fc.double({ noNaN: true, noDefaultInfinity: true })), (x) => {
        expect(halfFromFloat(x)).toBe(nearestBySearch(x));
      }),
      { numRuns: 3000 },
    );
  });

  it("rounds once from double precision, where going through fp32 would round twice", () => {
    const x = 1 + 2 ** -11 + 2 ** -40;
    expect(halfFromFloat(x)).toBe(0x3c01);
    expect(halfFromFloat(Math.fround(x))).toBe(0x3c00);
  });

  it("overflows to infinity from 65,520 and underflows to signed zero up to 2^-25", () => {
    expect([65504, 65519.99, 65520, 1e300, -Infinity].map(halfFromFloat)).toEqual([0x7bff, 0x7bff, 0x7c00, 0x7c00, 0xfc00]);
    expect([0, -0, 2 ** -25, -(2 ** -25), 2 ** -25 * 1.0001, 5e-324, -5e-324].map(halfFromFloat)).toEqual([0, 0x8000, 0, 0x8000, 1, 0, 0x8000]);
    expect(halfFromFloat(NaN)).toBe(0x7e00);
    expect(roundToHalf(0.1)).toBe(0.0999755859375);
  });

  it("converts arrays, into given memory too, and refuses another length", () => {
    const values = Float32Array.of(0, -0, 1, 0.1, 65520, NaN);
    const bits = encodeHalf(values, new Uint16Array(6).fill(0xaaaa));
    expect([...bits]).toEqual([0, 0x8000, 0x3c00, 0x2e66, 0x7c00, 0x7e00]);
    expect([...decodeHalf(bits, new Float32Array(6).fill(NaN))]).toEqual([0, -0, 1, 0.0999755859375, Infinity, NaN]);
    expect(encodeHalf(new Float32Array(0)).length).toBe(0);
    expect(() => encodeHalf(values, new Uint16Array(5))).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error);
    expect(() => decodeHalf(bits, new Float32Array(7))).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error);
  });
});
