/** The value page: a lane is a channel and a token of a quad, a byte holds codes of neighbouring channel groups. */

import { checkPageShape, laneFormat } from "./lane-format.js";
import type { BitField } from "./lane-format.js";
import type { PageBits, PageFormat } from "./page-format.js";

/**
 * The format `value-lanes-<bits>x<headDim>` of a page's value codes `[64 tokens, headDim]`, column = channel.
 *
 * A vector is 16 channels x 4 tokens in 64 lanes: lane `4 * (channel % 16) + token % 4`. Vector
 * `n = (token >> 2) * (headDim / 16) + (channel >> 4)`; consecutive vectors fill a unit of 64-lane bytes:
 * ```
 * byte, bit 7 .. 0 (v0, v1, ..: the unit's vectors; v6.0: bit 0 of its code)
 * 4 bits, 2 vectors in 1   v1 v0
 * 2 bits, 4 vectors in 1   v3 v2 v1 v0
 * 3 bits, 8 vectors in 3   v6.1 v6.0 v1 v0 | v7.1 v7.0 v3 v2 | v7.2 v6.2 v5 v4
 * 5 bits, 8 vectors in 5   v5.2 v5.1 v5.0 v0 | v6.2 v6.1 v6.0 v1 | v7.2 v7.1 v7.0 v2 | v7.3 v5.4 v5.3 v3 | v7.4 v6.4 v6.3 v4
 * ```
 * Pinned by golden/value-lanes.json.
 * @throws UNSUPPORTED for bits other than 2 to 5 or a head dim that is not a multiple of 16
 * @throws INVALID_ARGUMENT for a head dim that is not a positive whole number
 */
export function valueLanes(bits: PageBits, headDim: number): PageFormat {
  checkPageShape("valueLanes", bits, headDim);
  const groups = headDim / 16;
  const spread = SPREAD[bits];
  const bytes = spread === undefined ? 1 : bits;
  return laneFormat({
    name: "value-lanes",
    bits,
    headDim,
    unitCodes: (bytes * 8) / bits,
    fields: [...wholeFields(bits, bytes), ...(spread ?? [])],
    wordBytes: 1,
    vectorOffset: (n) => 4 * Math.floor(n / groups) * headDim + 16 * (n % groups),
    laneOffset: (lane) => (lane % 4) * headDim + (lane >> 2),
  });
}

/** The vectors that do not fit in one byte of their unit, for widths that do not divide 8. */
const SPREAD: Readonly<Partial<Record<PageBits, readonly BitField[]>>> = {
  3: [
    { code: 6, codeBit: 0, width: 2, byte: 0, bit: 6 },
    { code: 6, codeBit: 2, width: 1, byte: 2, bit: 6 },
    { code: 7, codeBit: 0, width: 2, byte: 1, bit: 6 },
    { code: 7, codeBit: 2, width: 1, byte: 2, bit: 7 },
  ],
  5: [
    { code: 5, codeBit: 0, width: 3, byte: 0, bit: 5 },
    { code: 5, codeBit: 3, width: 2, byte: 3, bit: 5 },
    { code: 6, codeBit: 0, width: 3, byte: 1, bit: 5 },
    { code: 6, codeBit: 3, width: 2, byte: 4, bit: 5 },
    { code: 7, codeBit: 0, width: 3, byte: 2, bit: 5 },
    { code: 7, codeBit: 3, width: 1, byte: 3, bit: 7 },
    { code: 7, codeBit: 4, width: 1, byte: 4, bit: 7 },
  ],
};

/** The vectors that lie whole in a byte, as many as fit, from bit 0 up. */
function wholeFields(bits: PageBits, bytes: number): BitField[] {
  const perByte = Math.floor(8 / bits);
  return Array.from({ length: bytes * perByte }, (_, code) => ({ code, codeBit: 0, width: bits, byte: Math.floor(code / perByte), bit: bits * (code % perByte) }));
}
