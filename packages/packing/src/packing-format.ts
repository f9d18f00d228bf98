/** What a packing format of any number of codes offers. */

import type { Bits } from "@kvquant/spec";

/** Turns codes (one in a byte, below `2^bits`) into packed bytes and back; pure. */
export interface PackingFormat {
  /** Name that artifacts record, such as `linear-3`. */
  readonly id: string;
  readonly bits: Bits;
  /**
   * Packed bytes of `count` codes.
   * @throws INVALID_ARGUMENT when `count` is not a whole number of at least 0
   */
  byteLength(count: number): number;
  /**
   * Packs codes `[count]` into `byteLength(count)` bytes.
   * @throws INVALID_ARGUMENT for a code of `2^bits` or more, or a wrong length of `out`
   */
  pack(codes: Uint8Array, out?: Uint8Array): Uint8Array;
  /**
   * Unpacks `count` codes.
   * @throws CORRUPT_DATA when `bytes` is not what `pack` writes for `count` codes: wrong length, or padding that is not zero
   * @throws INVALID_ARGUMENT for a wrong `count` or length of `out`
   */
  unpack(bytes: Uint8Array, count: number, out?: Uint8Array): Uint8Array;
}
