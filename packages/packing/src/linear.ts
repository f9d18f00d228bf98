/** Codes one after another in a bit stream, exactly `bits` bits each. */

import { check, checkInteger, checkLength, KvquantError } from "@kvquant/spec";
import type { Bits } from "@kvquant/spec";
import { checkCodes, checkPackedLength } from "./check-codes.js";
import type { PackingFormat } from "./packing-format.js";

const WIDTHS: readonly Bits[] = [1, 2, 3, 4, 5, 8];

/**
 * The format `linear-<bits>`: bit `i` of code `n` is bit `n * bits + i` of the stream, and bit `s` of the stream is
 * bit `s % 8` of byte `s >> 3` (least significant first). `ceil(count * bits / 8)` bytes; padding bits are zero.
 *
 * Three bits: byte 0 is `c2[1:0] c1[2:0] c0[2:0]`, byte 1 `c5[0] c4[2:0] c3[2:0] c2[2]`, byte 2 `c7[2:0] c6[2:0] c5[2:1]`.
 * Pinned by golden/linear.json.
 * @throws INVALID_ARGUMENT for widths other than 1, 2, 3, 4, 5 and 8
 */
export function linear(bits: Bits): PackingFormat {
  check(WIDTHS.includes(bits), "linear: bits", `one of ${WIDTHS.join(", ")}`, bits);
  const id = `linear-${bits}`;

  function byteLength(count: number): number {
    checkInteger(`${id}: count`, count, { minimum: 0, maximum: 2 ** 40 });
    return Math.ceil((count * bits) / 8);
  }

  function pack(codes: Uint8Array, out: Uint8Array = new Uint8Array(byteLength(codes.length))): Uint8Array {
    checkLength(`${id}: pack: out`, out, byteLength(codes.length));
    checkCodes(`${id}: pack`, codes, bits);
    let pending = 0;
    let held = 0;
    let byte = 0;
    for (let index = 0; index < codes.length; index++) {
      pending |= codes[index]! << held;
      held += bits;
      if (held >= 8) {
        out[byte++] = pending;
        pending >>>= 8;
        held -= 8;
      }
    }
    if (held > 0) out[byte] = pending;
    return out;
  }

  function unpack(bytes: Uint8Array, count: number, out?: Uint8Array): Uint8Array {
    checkPackedLength(`${id}: unpack`, bytes, byteLength(count));
    const codes = out ?? new Uint8Array(count);
    checkLength(`${id}: unpack: out`, codes, count);
    const padding = bytes.length * 8 - count * bits;
    if (padding > 0 && bytes[bytes.length - 1]! >>> (8 - padding) !== 0) {
      throw new KvquantError("CORRUPT_DATA", `${id}: unpack: expected zeros in the last ${padding} padding bits, got byte ${bytes[bytes.length - 1]}`);
    }
    const mask = (1 << bits) - 1;
    let pending = 0;
    let held = 0;
    let byte = 0;
    for (let index = 0; index < count; index++) {
      if (held < bits) {
        pending |= bytes[byte++]! << held;
        held += 8;
      }
      codes[index] = pending & mask;
      pending >>>= bits;
      held -= bits;
    }
    return codes;
  }

  return { id, bits, byteLength, pack, unpack };
}
