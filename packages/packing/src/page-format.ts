/** What a packing format of one page of one KV head offers. */

/** Code widths that page layouts exist for. */
export type PageBits = 2 | 3 | 4 | 5;

/** Packs the codes of one page (64 tokens) of one KV head into the lanes that the kernels read; pure. */
export interface PageFormat {
  /** Name that artifacts record, such as `key-lanes-3x64` (3 bits, head dim 64). */
  readonly id: string;
  readonly bits: PageBits;
  readonly headDim: number;
  /** Exactly `64 * headDim * bits / 8`. */
  readonly byteLength: number;
  /**
   * Packs codes `[64 tokens, headDim]`; a partial page fills the missing tokens with any code, usually 0.
   * @throws INVALID_ARGUMENT for a wrong number of codes, a code of `2^bits` or more, or a wrong length of `out`
   */
  pack(codes: Uint8Array, out?: Uint8Array): Uint8Array;
  /**
   * Unpacks codes `[64 tokens, headDim]`.
   * @throws CORRUPT_DATA when `bytes` has another length than `byteLength`
   * @throws INVALID_ARGUMENT for a wrong length of `out`
   */
  unpack(bytes: Uint8Array, out?: Uint8Array): Uint8Array;
}
