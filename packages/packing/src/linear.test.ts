import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Bits } from "@kvquant/spec";
import { linear } from "./linear.js";

interface Golden {
  readonly drawn: { bits: Bits; codes: number[]; hex: string };
  readonly generated: readonly { bits: Bits; count: number; hex: string }[];
}
const golden = JSON.parse(readFileSync(new URL("../golden/linear.json", import.meta.url), "utf8")) as Golden;
const widths: Bits[] = [1, 2, 3, 4, 5, 8];

/** The stream as one big number: code n is worth code * 2^(n * bits), bytes are its base-256 digits from the lowest. */
function packAsNumber(codes: Uint8Array, bits: number): Uint8Array {
  let stream = 0n;
  codes.forEach((code, n) => (stream += BigInt(code) << BigInt(n * bits)));
  return Uint8Array.from({ length: Math.ceil((codes.length * bits) / 8) }, (_, byte) => Number((stream >> BigInt(8 * byte)) & 255n));
}

describe("linear", () => {
  it("packs the drawn example", () => {
    const { bits, codes, hex } = golden.drawn;
    expect(Buffer.from(linear(bits).pack(Uint8Array.from(codes))).toString("hex")).toBe(hex);
  });

  it("writes the golden bytes", () => {
    for (const { bits, count, hex } of golden.generated) {
      const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
      const codes = Uint8Array.from({ length: count }, (_, n) => (((Math.imul(Math.imul(n, n), 2654435761) + Math.imul(n, 40503) + 12345) >>> 0) >>> 13) % 2 ** bits);
      expect(linear(bits).pack(codes)).toEqual(bytes);
      expect(linear(bits).unpack(bytes, count)).toEqual(codes);
    }
  });

  it.each(widths)("equals the digits of one big number at %i bits, and comes back", (bits) => {
    const format = linear(bits);
    for (const count of [0, 1, 7, 8, 9, 63, 64, 65, 251]) {
      const codes = Uint8Array.from({ length: count }, (_, n) => (n * 37 + (n >> 3) * 11) % 2 ** bits);
      const packed = format.pack(codes, new Uint8Array(format.byteLength(count)).fill(0xff));
      expect(packed).toEqual(packAsNumber(codes, bits));
      expect(format.unpack(packed, count, new Uint8Array(count).fill(0xff))).toEqual(codes);
    }
  });

  it("returns any codes it packed", () => {
    const input = fc.constantFrom(...widths).chain((bits) => fc.tuple(fc.constant(bits), fc.array(fc.integer({ min: 0, max: 2 ** bits - 1 }), { maxLength: 200 })));
    fc.assert(
      fc.property(input, ([bits, codes]) => {
        const packed = linear(bits).pack(Uint8Array.from(codes));
        expect(packed.length).toBe(Math.ceil((codes.length * bits) / 8));
        expect([...linear(bits).unpack(packed, codes.length)]).toEqual(codes);
      }),
    );
  });

  it("refuses a code out of range and leaves the output alone", () => {
    const out = new Uint8Array(2).fill(9);
    expect(() => linear(3).pack(Uint8Array.of(7, 8, 1), out)).toThrowError("linear-3: pack: expected codes below 8 (3 bits), got 8 at index 1");
    expect([...out]).toEqual([9, 9]);
  });

  it("refuses bytes that pack would not have written", () => {
    const corrupt = expect.objectContaining({ code: "CORRUPT_DATA" }) as Error;
    expect(() => linear(3).unpack(new Uint8Array(1), 3)).toThrowError(corrupt);
    expect(() => linear(3).unpack(new Uint8Array(3), 3)).toThrowError(corrupt);
    expect(() => linear(3).unpack(Uint8Array.of(0, 0b10), 3)).toThrowError(corrupt);
    expect([...linear(3).unpack(Uint8Array.of(0, 0b1), 3)]).toEqual([0, 0, 4]);
  });

  it("refuses widths and counts that make no sense", () => {
    const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error;
    for (const bits of [0, 6, 7, 2.5]) expect(() => linear(bits as Bits)).toThrowError(invalid);
    for (const count of [-1, 0.5, Number.NaN]) expect(() => linear(3).byteLength(count)).toThrowError(invalid);
    expect(() => linear(3).pack(new Uint8Array(3), new Uint8Array(3))).toThrowError(invalid);
    expect(() => linear(3).unpack(new Uint8Array(2), 3, new Uint8Array(4))).toThrowError(invalid);
  });
});
