/** What a cache sees of a quantizer: it turns pages of tokens into bytes and back. */

import type { Bits, Matrix } from "./matrix.js";

/** A fitted quantizer of one layer and side as plain data: what is saved, and what a fused kernel matches on. */
export interface QuantizerArtifact {
  /** Namespaced id of the quantizer that wrote it, such as `kvquant/channel-keys`. */
  readonly id: string;
  readonly bits: Bits;
  /** Id of the packing format of the codes. */
  readonly packing: string;
  /** What is done before coding, in order, in words a kernel can match. */
  readonly stages: readonly string[];
  /** Everything learned or chosen, by name. */
  readonly arrays: Readonly<Record<string, Float32Array>>;
}

/** A page of one layer and side in compressed form. Immutable once made, so that forks share it. */
export interface EncodedBlock {
  /** Tokens held, 1 to 64. */
  readonly tokens: number;
  /** Everything stored for the page: codes, scales, outliers with their indices and counts, per-token data, padding. */
  readonly bytes: Uint8Array;
  /** Outliers that found no slot and took the end level. */
  readonly saturated: number;
  /** Page-local scales or zero points that had to be clamped. */
  readonly clamped: number;
}

/** Encoder and decoder of one layer and side, made by `Quantizer.open`. Pure: the same input gives the same bytes. */
export interface BlockCodec {
  /**
   * Encodes a page `[tokens, kvHeads * headDim]`, 1 to 64 tokens, channels in half-split RoPE order.
   * @throws INVALID_ARGUMENT for a wrong shape, NaN or infinity
   */
  encode(x: Matrix): EncodedBlock;
  /**
   * Decodes a block into `out` `[block.tokens, kvHeads * headDim]`.
   * @throws CORRUPT_DATA when the bytes cannot be a block of this codec
   */
  decode(block: EncodedBlock, out: Matrix): void;
}

/** True bits per value of a block, everything in it counted. `cols` is kvHeads * headDim. */
export function bitsPerValue(block: EncodedBlock, cols: number): number {
  return (block.bytes.length * 8) / (block.tokens * cols);
}
