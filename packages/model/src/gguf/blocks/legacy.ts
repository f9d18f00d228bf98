/**
 * Tensor types with one scale for 32 values (ggml specification, `block_q4_0` and its family).
 * In the 4- and 5-bit types byte j of the codes holds value j in its low and value j + 16 in its high nibble.
 * Products of a half, a code and the sum below are exact in double precision, so each value is rounded once, as in ggml.
 */

import type { BlockType } from "../block-type.js";
import { halfAt } from "./half-at.js";

/** `d: half, q: 32 x int8`; value d * q. */
export const q8_0: BlockType = {
  id: 8,
  name: "Q8_0",
  values: 32,
  bytes: 34,
  decode(source, from, count, out, to) {
    for (let block = 0; block < count; block++, from += 34, to += 32) {
      const scale = halfAt(source, from);
      for (let index = 0; index < 32; index++) out[to + index] = scale * ((source[from + 2 + index]! << 24) >> 24);
    }
  },
};

/** `d: half, 16 bytes of codes`; value d * (q - 8). */
export const q4_0: BlockType = {
  id: 2,
  name: "Q4_0",
  values: 32,
  bytes: 18,
  decode(source, from, count, out, to) {
    for (let block = 0; block < count; block++, from += 18, to += 32) {
      const scale = halfAt(source, from);
      for (let index = 0; index < 16; index++) {
        const byte = source[from + 2 + index]!;
        out[to + index] = scale * ((byte & 15) - 8);
        out[to + index + 16] = scale * ((byte >> 4) - 8);
      }
    }
  },
};

/** `d: half, m: half, 16 bytes of codes`; value d * q + m. */
export const q4_1: BlockType = {
  id: 3,
  name: "Q4_1",
  values: 32,
  bytes: 20,
  decode(source, from, count, out, to) {
    for (let block = 0; block < count; block++, from += 20, to += 32) {
      const scale = halfAt(source, from);
      const minimum = halfAt(source, from + 2);
      for (let index = 0; index < 16; index++) {
        const byte = source[from + 4 + index]!;
        out[to + index] = scale * (byte & 15) + minimum;
        out[to + index + 16] = scale * (byte >> 4) + minimum;
      }
    }
  },
};

/** `d: half, 4 bytes of fifth bits (bit i of value i), 16 bytes of codes`; value d * (q - 16). */
export const q5_0: BlockType = {
  id: 6,
  name: "Q5_0",
  values: 32,
  bytes: 22,
  decode(source, from, count, out, to) {
    for (let block = 0; block < count; block++, from += 22, to += 32) {
      const scale = halfAt(source, from);
      const high = wordAt(source, from + 2);
      for (let index = 0; index < 16; index++) {
        const byte = source[from + 6 + index]!;
        out[to + index] = scale * (((byte & 15) | (((high >>> index) & 1) << 4)) - 16);
        out[to + index + 16] = scale * (((byte >> 4) | (((high >>> (index + 16)) & 1) << 4)) - 16);
      }
    }
  },
};

/** `d: half, m: half, 4 bytes of fifth bits, 16 bytes of codes`; value d * q + m. */
export const q5_1: BlockType = {
  id: 7,
  name: "Q5_1",
  values: 32,
  bytes: 24,
  decode(source, from, count, out, to) {
    for (let block = 0; block < count; block++, from += 24, to += 32) {
      const scale = halfAt(source, from);
      const minimum = halfAt(source, from + 2);
      const high = wordAt(source, from + 4);
      for (let index = 0; index < 16; index++) {
        const byte = source[from + 8 + index]!;
        out[to + index] = scale * ((byte & 15) | (((high >>> index) & 1) << 4)) + minimum;
        out[to + index + 16] = scale * ((byte >> 4) | (((high >>> (index + 16)) & 1) << 4)) + minimum;
      }
    }
  },
};

function wordAt(source: Uint8Array, at: number): number {
  return source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24);
}
