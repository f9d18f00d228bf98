/** The blocks of 32 values that llama.cpp quantizes its cache into, byte for byte as its portable quantizers write them. */

import type { Bits } from "@kvquant/spec";
import { loadHalf, storeHalf } from "../numeric/half-numbers.js";

/** Values of a block. */
export const LLAMA_BLOCK = 32;

const HALF_BLOCK = LLAMA_BLOCK / 2;
const { fround } = Math;

/** Names of the formats. */
export type LlamaFormatName = "q8_0" | "q5_1" | "q5_0" | "q4_1" | "q4_0" | "iq4_nl";

/** One format. */
export interface LlamaFormat {
  /** Bits of a code. */
  readonly bits: Bits;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Encodes `x[from .. from + 32)` at byte `offset` of zeroed `out`. */
  write(x: Float32Array, from: number, out: Uint8Array, offset: number): void;
  /**
   * Decodes the block at byte `offset` into `out[to .. to + 32)`.
   * @throws CORRUPT_DATA for a scale that is not finite
   */
  read(bytes: Uint8Array, offset: number, out: Float32Array, to: number): void;
}

/**
 * All formats. Codes of 4 and 5 bits: byte j of the last 16 holds the low 4 bits of value j, then of value j + 16; fifth bits are a little-endian word with
 * bit j for value j. All arithmetic is fp32. Two things differ, so that bytes are finite and depend on nothing but the page: a scale that no half holds
 * saturates at 65,504 instead of infinity, and codes of an iq4_nl block of zeros are 0 instead of those of the block before.
 * Source: llama.cpp, ggml/src/ggml-quants.c, `quantize_row_<name>_ref` and `dequantize_row_<name>`.
 */
export const LLAMA_FORMATS: Readonly<Record<LlamaFormatName, LlamaFormat>> = {
  q8_0: {
    bits: 8,
    bytes: 34,
    write(x, from, out, offset) {
      const scale = fround(Math.abs(signedPeak(x, from)) / 127);
      const inverse = inverseOrZero(scale);
      storeHalf(out, offset, scale);
      for (let index = 0; index < LLAMA_BLOCK; index++) out[offset + 2 + index] = roundAway(fround(x[from + index]! * inverse));
    },
    read(bytes, offset, out, to) {
      const scale = loadHalf(bytes, offset);
      for (let index = 0; index < LLAMA_BLOCK; index++) out[to + index] = ((bytes[offset + 2 + index]! << 24) >> 24) * scale;
    },
  },
  q5_1: affine(5),
  q5_0: symmetric(5),
  q4_1: affine(4),
  q4_0: symmetric(4),
  iq4_nl: {
    bits: 4,
    bytes: 18,
    write(x, from, out, offset) {
      const codes = new Uint8Array(LLAMA_BLOCK);
      storeHalf(out, offset, fitNonlinear(x, from, codes));
      writeCodes(codes, 4, out, offset + 2);
    },
    read(bytes, offset, out, to) {
      const scale = loadHalf(bytes, offset);
      for (let index = 0; index < LLAMA_BLOCK; index++) out[to + index] = NONLINEAR[readCode(bytes, 4, offset + 2, index)]! * scale;
    },
  },
};

/** Levels of iq4_nl, in units of its scale. */
const NONLINEAR = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const;

/** Below this magnitude iq4_nl takes a block for zero. */
const NONLINEAR_EPSILON = 1e-15;

/** q4_0 and q5_0: the value of largest magnitude takes the lowest code, and zero the middle one. */
function symmetric(bits: 4 | 5): LlamaFormat {
  const middle = 2 ** (bits - 1);
  const codesAt = 2;
  return {
    bits,
    bytes: codesAt + codeBytes(bits),
    write(x, from, out, offset) {
      const scale = fround(signedPeak(x, from) / -middle);
      const inverse = inverseOrZero(scale);
      storeHalf(out, offset, scale);
      const codes = Uint8Array.from({ length: LLAMA_BLOCK }, (_, index) => Math.min(2 * middle - 1, Math.trunc(fround(fround(x[from + index]! * inverse) + (middle + 0.5)))));
      writeCodes(codes, bits, out, offset + codesAt);
    },
    read(bytes, offset, out, to) {
      const scale = loadHalf(bytes, offset);
      for (let index = 0; index < LLAMA_BLOCK; index++) out[to + index] = (readCode(bytes, bits, offset + codesAt, index) - middle) * scale;
    },
  };
}

/** q4_1 and q5_1: from the minimum to the maximum. */
function affine(bits: 4 | 5): LlamaFormat {
  const last = 2 ** bits - 1;
  const codesAt = 4;
  return {
    bits,
    bytes: codesAt + codeBytes(bits),
    write(x, from, out, offset) {
      let low = x[from]!;
      let high = low;
      for (let index = 1; index < LLAMA_BLOCK; index++) {
        const value = x[from + index]!;
        if (value < low) low = value;
        if (value > high) high = value;
      }
      const scale = fround(fround(high - low) / last);
      const inverse = inverseOrZero(scale);
      storeHalf(out, offset, scale);
      storeHalf(out, offset + 2, low);
      const codes = Uint8Array.from({ length: LLAMA_BLOCK }, (_, index) => Math.min(last, Math.trunc(fround(fround(fround(x[from + index]! - low) * inverse) + 0.5))));
      writeCodes(codes, bits, out, offset + codesAt);
    },
    read(bytes, offset, out, to) {
      const scale = loadHalf(bytes, offset);
      const low = loadHalf(bytes, offset + 2);
      for (let index = 0; index < LLAMA_BLOCK; index++) out[to + index] = fround(readCode(bytes, bits, offset + codesAt, index) * scale) + low;
    },
  };
}

/** Codes against the largest value first, then the scale with the least squared error weighted by x^2, which is returned. */
function fitNonlinear(x: Float32Array, from: number, codes: Uint8Array): number {
  const peak = signedPeak(x, from);
  if (Math.abs(peak) < NONLINEAR_EPSILON) return 0;
  const inverse = fround(1 / fround(peak / NONLINEAR[0]));
  let sumQx = 0;
  let sumQ2 = 0;
  for (let index = 0; index < LLAMA_BLOCK; index++) {
    const value = x[from + index]!;
    codes[index] = nearestNonlinear(fround(inverse * value));
    const level = NONLINEAR[codes[index]!]!;
    const weighted = fround(fround(value * value) * level);
    sumQx = fround(sumQx + fround(weighted * value));
    sumQ2 = fround(sumQ2 + fround(weighted * level));
  }
  // Squares of the smallest and largest numbers leave fp32; their block keeps the scale of its largest value.
  const scale = fround(sumQx / sumQ2);
  return Number.isFinite(scale) ? scale : fround(peak / NONLINEAR[0]);
}

/** The nearest level; in the middle the higher one. */
function nearestNonlinear(x: number): number {
  if (x <= NONLINEAR[0]) return 0;
  let above = 1;
  while (above < NONLINEAR.length - 1 && x >= NONLINEAR[above]!) above++;
  return x >= NONLINEAR[15] || fround(x - NONLINEAR[above - 1]!) >= fround(NONLINEAR[above]! - x) ? above : above - 1;
}

/** The first value of largest magnitude. */
function signedPeak(x: Float32Array, from: number): number {
  let peak = 0;
  for (let index = from; index < from + LLAMA_BLOCK; index++) if (Math.abs(x[index]!) > Math.abs(peak)) peak = x[index]!;
  return peak;
}

/** fp32 reciprocal, 0 for 0; the scale before it is rounded to a half, as llama.cpp has it. */
function inverseOrZero(scale: number): number {
  return scale === 0 ? 0 : fround(1 / scale);
}

/** Nearest integer, halves away from zero. */
function roundAway(x: number): number {
  return Math.sign(x) * Math.floor(Math.abs(x) + 0.5);
}

function codeBytes(bits: 4 | 5): number {
  return bits === 5 ? 4 + HALF_BLOCK : HALF_BLOCK;
}

function writeCodes(codes: Uint8Array, bits: 4 | 5, out: Uint8Array, offset: number): void {
  const low = bits === 5 ? offset + 4 : offset;
  for (let index = 0; index < HALF_BLOCK; index++) out[low + index] = (codes[index]! & 15) | ((codes[index + HALF_BLOCK]! & 15) << 4);
  if (bits === 4) return;
  for (let index = 0; index < LLAMA_BLOCK; index++) out[offset + (index >> 3)]! |= (codes[index]! >> 4) << (index & 7);
}

function readCode(bytes: Uint8Array, bits: 4 | 5, offset: number, index: number): number {
  const low = (bytes[(bits === 5 ? offset + 4 : offset) + (index % HALF_BLOCK)]! >> (index < HALF_BLOCK ? 0 : 4)) & 15;
  return bits === 4 ? low : low | (((bytes[offset + (index >> 3)]! >> (index & 7)) & 1) << 4);
}
