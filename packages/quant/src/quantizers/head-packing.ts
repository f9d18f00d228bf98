/** Which packing format the codes of a page of one KV head take. */

import { keyLanes, linear, valueLanes } from "@kvquant/packing";
import { check, PAGE_TOKENS } from "@kvquant/spec";
import type { Side } from "@kvquant/spec";

/** Code widths that quantizers of pages offer. */
export type CodeBits = 2 | 3 | 4 | 5;

/** Packs the codes `[64, headDim]` of one head, in the numbering of the side: key code indices or value channels. */
export interface HeadPacking {
  readonly id: string;
  readonly byteLength: number;
  pack(codes: Uint8Array, out: Uint8Array): void;
  unpack(bytes: Uint8Array, out: Uint8Array): void;
}

/** The kernels' lanes when the head dim is a multiple of 16, else the plain bit stream of the codes, token after token. */
export function headPacking(side: Side, bits: CodeBits, headDim: number): HeadPacking {
  checkCodeBits(bits);
  if (headDim % 16 === 0) {
    const format = side === "key" ? keyLanes(bits, headDim) : valueLanes(bits, headDim);
    return {
      id: format.id,
      byteLength: format.byteLength,
      pack: (codes, out) => void format.pack(codes, out),
      unpack: (bytes, out) => void format.unpack(bytes, out),
    };
  }
  const format = linear(bits);
  const count = PAGE_TOKENS * headDim;
  return {
    id: format.id,
    byteLength: format.byteLength(count),
    pack: (codes, out) => void format.pack(codes, out),
    unpack: (bytes, out) => void format.unpack(bytes, count, out),
  };
}

/** Throws INVALID_ARGUMENT unless `bits` is 2, 3, 4 or 5. */
export function checkCodeBits(bits: number): asserts bits is CodeBits {
  check(bits === 2 || bits === 3 || bits === 4 || bits === 5, "bits", "2, 3, 4 or 5", bits);
}
