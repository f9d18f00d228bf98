/**
 * Tensor types with super-blocks of 256 values (ggml specification, `block_q4_K`, `block_q5_K`, `block_q6_K`).
 * Q4_K and Q5_K have 8 runs of 32 values, each with a 6-bit scale and a 6-bit minimum packed into 12 bytes; Q6_K has 16 runs of 16 with int8 scales.
 */

import type { BlockType } from "../block-type.js";
import { halfAt } from "./half-at.js";

/** `d: half, dmin: half, 12 bytes of scales and minima, 128 bytes of codes`; value d * scale * q - dmin * minimum. */
export const q4_k: BlockType = {
  id: 12,
  name: "Q4_K",
  values: 256,
  bytes: 144,
  decode(source, from, count, out, to) {
    for (let block = 0; block < count; block++, from += 144) {
      const scale = halfAt(source, from);
      const minimum = halfAt(source, from + 2);
      // 32 bytes of codes hold run 2p in their low and run 2p + 1 in their high nibbles.
      for (let run = 0; run < 8; run++, to += 32) {
        const runScale = scale * scaleOf(source, from + 4, run);
        const runMinimum = minimum * minimumOf(source, from + 4, run);
        const codes = from + 16 + (run >> 1) * 32;
        const shift = (run & 1) * 4;
        for (let index = 0; index < 32; index++) out[to + index] = runScale * ((source[codes + index]! >> shift) & 15) - runMinimum;
      }
    }
  },
};

/** As Q4_K with 32 bytes of fifth bits before the codes: bit r of byte i belongs to value i of run r. */
export const q5_k: BlockType = {
  id: 13,
  name: "Q5_K",
  values: 256,
  bytes: 176,
  decode(source, from, count, out, to) {
    for (let block = 0; block < count; block++, from += 176) {
      const scale = halfAt(source, from);
      const minimum = halfAt(source, from + 2);
      const high = from + 16;
      for (let run = 0; run < 8; run++, to += 32) {
        const runScale = scale * scaleOf(source, from + 4, run);
        const runMinimum = minimum * minimumOf(source, from + 4, run);
        const codes = from + 48 + (run >> 1) * 32;
        const shift = (run & 1) * 4;
        for (let index = 0; index < 32; index++) {
          const code = ((source[codes + index]! >> shift) & 15) | (((source[high + index]! >> run) & 1) << 4);
          out[to + index] = runScale * code - runMinimum;
        }
      }
    }
  },
};

/** `128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 x int8 scales, d: half`; value d * scale * (q - 32). */
export const q6_k: BlockType = {
  id: 14,
  name: "Q6_K",
  values: 256,
  bytes: 210,
  decode(source, from, count, out, to) {
    for (let block = 0; block < count; block++, from += 210) {
      const scale = halfAt(source, from + 208);
      // A half of 128 values is four quarters of 32: quarter c takes nibble c >> 1 of low byte (c & 1) * 32 + i and bit pair c of high byte i.
      for (let part = 0; part < 8; part++, to += 32) {
        const half = part >> 2;
        const quarter = part & 3;
        const low = from + half * 64 + (quarter & 1) * 32;
        const high = from + 128 + half * 32;
        const scales = from + 192 + half * 8 + quarter * 2;
        const lowShift = (quarter >> 1) * 4;
        const highShift = quarter * 2;
        for (let index = 0; index < 32; index++) {
          const code = ((source[low + index]! >> lowShift) & 15) | (((source[high + index]! >> highShift) & 3) << 4);
          out[to + index] = scale * ((source[scales + (index >> 4)]! << 24) >> 24) * (code - 32);
        }
      }
    }
  },
};

/** Scales of runs 0-3 are the low 6 bits of bytes 0-3; those of runs 4-7 take their low 4 bits from bytes 8-11 and their top 2 from bytes 0-3. */
function scaleOf(source: Uint8Array, at: number, run: number): number {
  return run < 4 ? source[at + run]! & 63 : (source[at + run + 4]! & 15) | ((source[at + run - 4]! >> 6) << 4);
}

/** Minima likewise: bytes 4-7, then the high nibbles of bytes 8-11 with the top 2 bits of bytes 4-7. */
function minimumOf(source: Uint8Array, at: number, run: number): number {
  return run < 4 ? source[at + run + 4]! & 63 : (source[at + run + 4]! >> 4) | ((source[at + run]! >> 6) << 4);
}
