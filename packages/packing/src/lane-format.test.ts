import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keyLanes } from "./key-lanes.js";
import { linear } from "./linear.js";
import type { PageBits, PageFormat } from "./page-format.js";
import { valueLanes } from "./value-lanes.js";

interface Golden {
  readonly drawn: readonly { why: string; bits: PageBits; headDim: number; token: number; column: number; code: number; bytes: Record<string, number> }[];
  readonly generated: readonly { bits: PageBits; headDim: number; sha256: string }[];
}
type Place = (shape: { bits: number; headDim: number }, token: number, column: number) => { byte: number; bit: number }[];

/** Codes of golden/generate.py. */
function goldenCodes(count: number, bits: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, n) => {
    const mixed = (Math.imul(Math.imul(n, n), 2654435761) + Math.imul(n, 40503) + 12345) >>> 0;
    return (mixed >>> 13) % 2 ** bits;
  });
}

/** The key page in prose: where each bit of a code lies, least significant first. */
const keyPlace: Place = ({ bits }, token, column) => {
  const vector = token <= 31 ? 0 : 1;
  const lane = token <= 31 ? 31 - token : token - 32;
  const code = column % 16;
  const at = (word: number, bit: number): { byte: number; bit: number } => {
    const groupBytes = bits * 128;
    const byte = Math.floor(column / 16) * groupBytes + word * 128 + vector * 64 + lane * 2;
    return bit < 8 ? { byte, bit } : { byte: byte + 1, bit: bit - 8 };
  };
  const starts: Record<number, number[]> = { 4: [0, 4, 8, 12], 2: [0, 2, 4, 6, 8, 10, 12, 14], 3: [0, 3, 6, 9, 12], 5: [0, 5, 10] };
  const perWord = starts[bits]!;
  const isSpread = (bits === 3 || bits === 5) && code === 15;
  return Array.from({ length: bits }, (_, i) => (isSpread ? at(i, 15) : at(Math.floor(code / perWord.length), perWord[code % perWord.length]! + i)));
};

/** The value page in prose. */
const valuePlace: Place = ({ bits, headDim }, token, column) => {
  const quad = Math.floor(token / 4);
  const n = quad * (headDim / 16) + Math.floor(column / 16);
  const unitVectors = { 4: 2, 2: 4, 3: 8, 5: 8 }[bits]!;
  const unitBytes = { 4: 1, 2: 1, 3: 3, 5: 5 }[bits]!;
  const vector = n % unitVectors;
  const at = (byte: number, bit: number): { byte: number; bit: number } => ({
    byte: (Math.floor(n / unitVectors) * unitBytes + byte) * 64 + (column % 16) * 4 + (token % 4),
    bit,
  });
  if (bits === 4 || bits === 2) return Array.from({ length: bits }, (_, i) => at(0, vector * bits + i));
  if (bits === 3) {
    if (vector === 6) return [at(0, 6), at(0, 7), at(2, 6)];
    if (vector === 7) return [at(1, 6), at(1, 7), at(2, 7)];
    return [0, 1, 2].map((i) => at(Math.floor(vector / 2), (vector % 2) * 3 + i));
  }
  if (vector < 5) return [0, 1, 2, 3, 4].map((i) => at(vector, i));
  const low = [5, 6, 7].map((bit) => at(vector - 5, bit));
  if (vector === 5) return [...low, at(3, 5), at(3, 6)];
  if (vector === 6) return [...low, at(4, 5), at(4, 6)];
  return [...low, at(3, 7), at(4, 7)];
};

/** Packs one bit at a time, and checks that no bit is taken twice. */
function packSlowly(place: Place, shape: { bits: number; headDim: number }, codes: Uint8Array): Uint8Array {
  const out = new Uint8Array(8 * shape.headDim * shape.bits);
  const taken = new Uint8Array(out.length);
  let clashes = 0;
  for (let token = 0; token < 64; token++) {
    for (let column = 0; column < shape.headDim; column++) {
      place(shape, token, column).forEach(({ byte, bit }, i) => {
        clashes += (taken[byte]! >> bit) & 1;
        taken[byte]! |= 1 << bit;
        out[byte]! |= ((codes[token * shape.headDim + column]! >> i) & 1) << bit;
      });
    }
  }
  expect(clashes).toBe(0);
  expect(taken.every((bits) => bits === 255)).toBe(true);
  return out;
}

function expectSame(found: Uint8Array, expected: Uint8Array): void {
  // Buffer comparison first: element-wise toEqual on pages is slow, and is left to explain a failure.
  if (!Buffer.from(found).equals(expected)) expect([...found]).toEqual([...expected]);
}

const families: { name: string; make: (bits: PageBits, headDim: number) => PageFormat; place: Place }[] = [
  { name: "key-lanes", make: keyLanes, place: keyPlace },
  { name: "value-lanes", make: valueLanes, place: valuePlace },
];
const widths: PageBits[] = [2, 3, 4, 5];

describe.each(families)("$name", ({ name, make, place }) => {
  const golden = JSON.parse(readFileSync(new URL(`../golden/${name}.json`, import.meta.url), "utf8")) as Golden;

  it.each(golden.drawn)("puts a single code where the drawing says: $bits bits, $why", ({ bits, headDim, token, column, code, bytes }) => {
    const codes = new Uint8Array(64 * headDim);
    codes[token * headDim + column] = code;
    const expected = new Uint8Array((64 * headDim * bits) / 8);
    for (const [index, byte] of Object.entries(bytes)) expected[Number(index)] = byte;
    expectSame(make(bits, headDim).pack(codes), expected);
    expectSame(make(bits, headDim).unpack(expected), codes);
  });

  it.each(golden.generated)("writes the golden bytes at $bits bits and head dim $headDim", ({ bits, headDim, sha256 }) => {
    const codes = goldenCodes(64 * headDim, bits);
    const packed = make(bits, headDim).pack(codes);
    expect(createHash("sha256").update(packed).digest("hex")).toBe(sha256);
    expectSame(make(bits, headDim).unpack(packed), codes);
  });

  it.each(widths)("equals a bit-by-bit reading of the layout at %i bits", (bits) => {
    for (const headDim of [16, 48, 80]) {
      const format = make(bits, headDim);
      const codes = goldenCodes(64 * headDim, bits).reverse();
      const expected = packSlowly(place, { bits, headDim }, codes);
      expect(format.byteLength).toBe(expected.length);
      expectSame(format.pack(codes, new Uint8Array(expected.length).fill(0xa5)), expected);
      expectSame(format.unpack(expected, new Uint8Array(codes.length).fill(0xa5)), codes);
    }
  });

  it.each(widths)("packs any bytes it can unpack back into the same bytes at %i bits", (bits) => {
    const format = make(bits, 32);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: format.byteLength, maxLength: format.byteLength }), (bytes) => {
        const codes = format.unpack(bytes);
        return codes.every((code) => code < 2 ** bits) && Buffer.from(format.pack(codes)).equals(bytes);
      }),
      { numRuns: 50 },
    );
  });

  it("takes exactly the space of the codes and names itself by bits and head dim", () => {
    for (const bits of widths) {
      const format = make(bits, 128);
      expect(format).toMatchObject({ id: `${name}-${bits}x128`, bits, headDim: 128, byteLength: 64 * 16 * bits });
      expect(format.byteLength).toBe(linear(bits).byteLength(64 * 128));
    }
  });

  it("reads and writes memory at odd offsets, and nothing around it", () => {
    const format = make(3, 16);
    const codes = goldenCodes(64 * 16, 3);
    const memory = new Uint8Array(format.byteLength + 2).fill(0x5a);
    format.pack(codes, memory.subarray(1, -1));
    expect(memory[0]).toBe(0x5a);
    expect(memory[memory.length - 1]).toBe(0x5a);
    expectSame(format.unpack(memory.subarray(1, -1)), codes);
  });

  it("refuses a code out of range and leaves the output alone", () => {
    const codes = new Uint8Array(64 * 16);
    codes[777] = 8;
    const out = new Uint8Array(64 * 6).fill(7);
    expect(() => make(3, 16).pack(codes, out)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("got 8 at index 777") as string }));
    expect(out.every((byte) => byte === 7)).toBe(true);
  });

  it("refuses wrong sizes", () => {
    const format = make(3, 16);
    const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error;
    expect(() => format.pack(new Uint8Array(64 * 16 - 1))).toThrowError(invalid);
    expect(() => format.pack(new Uint8Array(64 * 16), new Uint8Array(1))).toThrowError(invalid);
    expect(() => format.unpack(new Uint8Array(format.byteLength), new Uint8Array(1))).toThrowError(invalid);
    for (const length of [0, format.byteLength - 1, format.byteLength + 1]) {
      expect(() => format.unpack(new Uint8Array(length))).toThrowError(expect.objectContaining({ code: "CORRUPT_DATA" }) as Error);
    }
  });

  it("refuses head dims and widths that have no layout", () => {
    for (const headDim of [8, 24, 100]) expect(() => make(3, headDim)).toThrowError(expect.objectContaining({ code: "UNSUPPORTED" }) as Error);
    for (const bits of [1, 8]) expect(() => make(bits as PageBits, 64)).toThrowError(expect.objectContaining({ code: "UNSUPPORTED" }) as Error);
    for (const headDim of [0, -16, 1.5, Number.NaN]) expect(() => make(3, headDim)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error);
  });
});
