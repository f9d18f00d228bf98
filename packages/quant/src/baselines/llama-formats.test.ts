import { describe, expect, it } from "vitest";
import { crc32 } from "../artifact/crc32.js";
import { LLAMA_BLOCK, LLAMA_FORMATS } from "./llama-formats.js";
import type { LlamaFormatName } from "./llama-formats.js";

/**
 * Numbers from xorshift32: `(s >> 8) / 2^23 - 1`, one in 16 eight times larger, one in 16 zero; exact in fp32, so that any language draws the same.
 */
function numbers(seed: number, count: number): Float32Array {
  let s = seed;
  return Float32Array.from({ length: count }, () => {
    s = (s ^ (s << 13)) >>> 0;
    s = (s ^ (s >>> 17)) >>> 0;
    s = (s ^ (s << 5)) >>> 0;
    const value = (s >>> 8) / 2 ** 23 - 1;
    return s % 16 === 0 ? value * 8 : s % 16 === 1 ? 0 : value;
  });
}

/**
 * Bytes and decoded numbers of `quantize_row_<name>_ref` and `dequantize_row_<name>` of llama.cpp's libggml-base (node-llama-cpp, build of 2026, x64), called
 * through ctypes on `numbers`: the first block of seed 2463534242 in hexadecimal; CRC-32 of 8 blocks, of which block 5 is zeros, 6 all 0.75 and
 * 7 numpy.linspace(-1, 1, 32); CRC-32 of 20,000 blocks of seed 12345 times 3. The Python package gguf writes the same 8 blocks (it has no iq4_nl).
 */
const GOLDEN: Readonly<Record<LlamaFormatName, { readonly first: string; readonly few: [string, string]; readonly many: [string, string] }>> = {
  q8_0: { first: "3127e806f5fe00e3f3e8e908f0110c1cfd2ef4f81a172313f0de0e81053adffcf623", few: ["7b1f0b87", "cc2c8a7d"], many: ["5b98b8ef", "7a98d24b"] },
  q5_1: { first: "5e3123c3fffffffd3146a395b5803301810763f8075a45bd", few: ["ede53aed", "45af1c8d"], many: ["1addd7e6", "e0774afe"] },
  q5_0: { first: "23331afa3cadedf13f30402ceecd2d011e72c204f046", few: ["5654a92d", "2e72ed26"], many: ["68c65abf", "69a04aa7"] },
  q4_1: { first: "8c3523c398abc9cadac89988b80bb9fc8bad9ade", few: ["790eb24d", "9f46eb73"], many: ["1e69fdc0", "ecb6b442"] },
  q4_0: { first: "23377778a798a8967766970987c9698a78ab", few: ["e4ff365f", "7f3f446f"], many: ["a1d1199c", "80df3349"] },
  iq4_nl: { first: "2e277678a7a8b8a56756960986c9598a78bc", few: ["dab189d5", "803e218f"], many: ["b60e7ca1", "e375dad9"] },
};

const names = Object.keys(LLAMA_FORMATS) as LlamaFormatName[];

function code(name: LlamaFormatName, x: Float32Array): { bytes: Uint8Array; decoded: Float32Array } {
  const format = LLAMA_FORMATS[name];
  const blocks = x.length / LLAMA_BLOCK;
  const bytes = new Uint8Array(blocks * format.bytes);
  for (let block = 0; block < blocks; block++) format.write(x, block * LLAMA_BLOCK, bytes, block * format.bytes);
  return { bytes, decoded: decode(name, bytes) };
}

function decode(name: LlamaFormatName, bytes: Uint8Array): Float32Array {
  const format = LLAMA_FORMATS[name];
  const blocks = bytes.length / format.bytes;
  const decoded = new Float32Array(blocks * LLAMA_BLOCK).fill(Number.NaN);
  for (let block = 0; block < blocks; block++) format.read(bytes, block * format.bytes, decoded, block * LLAMA_BLOCK);
  return decoded;
}

const hex = (bytes: Uint8Array): string => crc32(bytes).toString(16).padStart(8, "0");
const checksums = ({ bytes, decoded }: ReturnType<typeof code>): [string, string] => [hex(bytes), hex(new Uint8Array(decoded.buffer))];

describe("blocks of llama.cpp", () => {
  const few = numbers(2463534242, 8 * LLAMA_BLOCK);
  few.fill(0, 5 * LLAMA_BLOCK, 6 * LLAMA_BLOCK);
  few.fill(0.75, 6 * LLAMA_BLOCK, 7 * LLAMA_BLOCK);
  // The positive half by subtraction, as numpy.linspace(-1, 1, 32) rounds it in float64.
  for (let index = 0; index < LLAMA_BLOCK; index++) few[7 * LLAMA_BLOCK + index] = index === LLAMA_BLOCK - 1 ? 1 : -1 + index * (2 / 31);

  it("are tested on the numbers that the golden bytes were made of", () => {
    expect(hex(new Uint8Array(few.buffer))).toBe("7fdd74d2");
  });

  for (const name of names) {
    it(`${name} equal its bytes and its decoded numbers`, () => {
      const { first, few: small, many } = GOLDEN[name];
      const blocks = code(name, few);
      expect(Buffer.from(blocks.bytes.subarray(0, LLAMA_FORMATS[name].bytes)).toString("hex")).toBe(first);
      // llama.cpp leaves an iq4_nl block of zeros with the codes of the block before, which decode to zeros of their signs.
      if (name === "iq4_nl") blocks.bytes.copyWithin(5 * 18 + 2, 4 * 18 + 2, 5 * 18);
      expect(checksums({ ...blocks, decoded: decode(name, blocks.bytes) })).toEqual(small);
      expect(checksums(code(name, numbers(12345, 20000 * LLAMA_BLOCK).map((value) => value * 3)))).toEqual(many);
    });

    it(`${name} of the largest and smallest numbers decode to finite numbers`, () => {
      const x = new Float32Array(6 * LLAMA_BLOCK).fill(3e38);
      for (let index = 0; index < 32; index += 2) x[index] = -3e38;
      x.fill(65504, 32, 64).fill(1e-30, 64, 96).fill(-1e-14, 96, 128).fill(-0, 128, 160);
      expect(code(name, x).decoded.every(Number.isFinite)).toBe(true);
    });
  }
});
