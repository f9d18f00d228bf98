/** The key page: a lane is a token, a 16-bit word holds codes of neighbouring channels. */

import { checkPageShape, laneFormat } from "./lane-format.js";
import type { BitField } from "./lane-format.js";
import type { PageBits, PageFormat } from "./page-format.js";

/**
 * The format `key-lanes-<bits>x<headDim>` of a page's key codes `[64 tokens, headDim]`, column j = code index
 * (RoPE pair p, half h: j = 2p + h).
 *
 * A group is 16 codes x 64 tokens, stored as `bits` words of 64 lanes of u16, little-endian; groups follow each other.
 * Lanes: 0..31 hold tokens 31..0, 32..63 hold tokens 32..63, so that both halves count distance from the page's centre.
 * ```
 * word w of a group, bit 15 .. 0
 * 4 bits   c[4w+3] c[4w+2] c[4w+1] c[4w]
 * 2 bits   c[8w+7] c[8w+6] .. c[8w+1] c[8w]
 * 3 bits   c15.w | c[5w+4] c[5w+3] c[5w+2] c[5w+1] c[5w]      c15.w: bit w of code 15
 * 5 bits   c15.w | c[3w+2] c[3w+1] c[3w]
 * ```
 * Pinned by golden/key-lanes.json.
 * @throws UNSUPPORTED for bits other than 2 to 5 or a head dim that is not a multiple of 16
 * @throws INVALID_ARGUMENT for a head dim that is not a positive whole number
 */
export function keyLanes(bits: PageBits, headDim: number): PageFormat {
  checkPageShape("keyLanes", bits, headDim);
  return laneFormat({
    name: "key-lanes",
    bits,
    headDim,
    unitCodes: 16,
    fields: wordFields(bits),
    wordBytes: 2,
    vectorOffset: (n) => n,
    laneOffset: (lane) => (lane < 32 ? 31 - lane : lane) * headDim,
  });
}

/** Fields of 16 codes in `bits` words of 16 bits: as many whole codes as fit in each word; a last code is spread over their bits 15. */
function wordFields(bits: PageBits): BitField[] {
  const perWord = Math.floor(16 / bits);
  const fields: BitField[] = [];
  for (let code = 0; code < 16; code++) {
    const word = Math.floor(code / perWord);
    if (word < bits) {
      fields.push(...splitAtByte(code, word, { bits, wordBit: bits * (code % perWord) }));
    } else {
      for (let codeBit = 0; codeBit < bits; codeBit++) fields.push({ code, codeBit, width: 1, byte: 2 * codeBit + 1, bit: 7 });
    }
  }
  return fields;
}

/** A code that may cross from the low byte of its word to the high one, as one or two fields. */
function splitAtByte(code: number, word: number, place: { bits: number; wordBit: number }): BitField[] {
  const { bits, wordBit } = place;
  const low = Math.max(0, Math.min(bits, 8 - wordBit));
  const fields: BitField[] = [];
  if (low > 0) fields.push({ code, codeBit: 0, width: low, byte: 2 * word, bit: wordBit });
  if (low < bits) fields.push({ code, codeBit: low, width: bits - low, byte: 2 * word + 1, bit: Math.max(0, wordBit - 8) });
  return fields;
}
