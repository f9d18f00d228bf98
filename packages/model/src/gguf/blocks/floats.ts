/** Unquantized tensor types: F32, F16, BF16, one value a block, little-endian. */

import { floatFromHalf } from "@kvquant/packing";
import type { BlockType } from "../block-type.js";

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** IEEE 754 binary32. */
export const f32: BlockType = {
  id: 0,
  name: "F32",
  values: 1,
  bytes: 4,
  decode(source, from, count, out, to) {
    const view = new DataView(source.buffer, source.byteOffset + from, count * 4);
    for (let index = 0; index < count; index++) out[to + index] = view.getFloat32(index * 4, true);
  },
};

/** IEEE 754 binary16. */
export const f16: BlockType = {
  id: 1,
  name: "F16",
  values: 1,
  bytes: 2,
  decode(source, from, count, out, to) {
    for (let index = 0; index < count; index++) {
      const at = from + index * 2;
      out[to + index] = floatFromHalf(source[at]! | (source[at + 1]! << 8));
    }
  },
};

/** bfloat16: the upper half of a binary32. */
export const bf16: BlockType = {
  id: 30,
  name: "BF16",
  values: 1,
  bytes: 2,
  decode(source, from, count, out, to) {
    for (let index = 0; index < count; index++) {
      const at = from + index * 2;
      bits[0] = (source[at]! << 16) | (source[at + 1]! << 24);
      out[to + index] = float[0]!;
    }
  },
};
