/** Where the parts of a block lie. */

import { PAGE_TOKENS } from "@kvquant/spec";
import type { EncodedBlock } from "@kvquant/spec";
import { decodePageOutliers, encodePageOutliers } from "@kvquant/sparse";
import type { OutlierEntries } from "@kvquant/sparse";
import { corrupt } from "../corrupt.js";
import type { HeadPacking } from "./head-packing.js";
import { TOKEN_ARRAY_BYTES } from "./token-data.js";

/**
 * Layout of a block's bytes; sizes are those of a full page, whatever the number of tokens held (docs/format.md, section 1).
 * ```
 * block      head 0 | head 1 | .. | head kvHeads-1 | token data | outliers
 * head       codes        packing.byteLength
 *            side data    sideBytes (page-local scales: headDim u8 scales, headDim u8 zeros, zeros up to a multiple of 64)
 * token data tokenArrays x 64 x fp16 little-endian (values: scale, then zero; rotated values: 3 r), zeros for missing tokens
 * outliers   only with `outliers`, a section for each head: 32 B of 4-bit counts, fp16 deltas, u8 indices, zeros up to a multiple of 4
 * ```
 * Everything of fixed size comes first, so that the codes of every head start at a multiple of 64 bytes when the head dim is a multiple of 16.
 * Codes of missing tokens are 0. Pinned by golden/pages.txt and the golden hashes of page-layout.test.ts.
 */
export interface PageLayout {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly packing: HeadPacking;
  readonly sideBytes: number;
  readonly outliers: boolean;
  /** fp16 numbers a token, 0 to 2. */
  readonly tokenArrays: number;
}

/** Byte offsets of one head's parts. */
export interface HeadSection {
  readonly codes: number;
  readonly side: number;
  readonly outliers: OutlierEntries | undefined;
}

/** Byte offsets of a block's parts. */
export interface BlockSections {
  readonly heads: readonly HeadSection[];
  /** Offset of the token data. */
  readonly tokenData: number;
}

/** A head being written: its codes `[64, headDim]`, side data, outliers. */
export interface HeadParts {
  readonly codes: Uint8Array;
  readonly side: Uint8Array | undefined;
  readonly outliers: OutlierEntries | undefined;
}

/** Collects heads and writes the block. */
export interface BlockWriter {
  /** Packs one head; its arrays may be reused afterwards. */
  addHead(parts: HeadParts): void;
  /** The finished bytes; `writeTokenData` fills `[tokenArrays, 64]` half bits from the given offset. */
  finish(writeTokenData?: (bytes: Uint8Array, offset: number) => void): Uint8Array;
}

/** Writes blocks without copying the codes twice: without outliers the size is known beforehand. */
export function blockWriter(layout: PageLayout): BlockWriter {
  const { kvHeads, packing, sideBytes } = layout;
  const headBytes = packing.byteLength + sideBytes;
  const fixed = new Uint8Array(fixedByteLength(layout));
  const sections: Uint8Array[] = [];
  let heads = 0;
  return {
    addHead({ codes, side, outliers }) {
      const start = heads++ * headBytes;
      packing.pack(codes, fixed.subarray(start, start + packing.byteLength));
      if (side !== undefined) fixed.set(side, start + packing.byteLength);
      if (outliers !== undefined) sections.push(encodePageOutliers(outliers));
    },
    finish(writeTokenData) {
      writeTokenData?.(fixed, kvHeads * headBytes);
      if (sections.length === 0) return fixed;
      const bytes = new Uint8Array(sections.reduce((size, section) => size + section.length, fixed.length));
      bytes.set(fixed);
      let offset = fixed.length;
      for (const section of sections) {
        bytes.set(section, offset);
        offset += section.length;
      }
      return bytes;
    },
  };
}

/**
 * Finds the parts of a block.
 * @throws CORRUPT_DATA when tokens are not 1 to 64, the block is cut off or has bytes left over, a missing token has numbers, or an outlier
 * section is malformed, names a channel outside the head or holds a token beyond those held
 */
export function parseBlock(layout: PageLayout, block: EncodedBlock): BlockSections {
  const { bytes, tokens } = block;
  const { kvHeads, headDim, packing } = layout;
  if (!Number.isInteger(tokens) || tokens < 1 || tokens > PAGE_TOKENS) throw corrupt("block: tokens", "1 to 64", tokens);
  const fixed = fixedByteLength(layout);
  if (bytes.length < fixed) throw corrupt("block", `at least ${fixed} bytes`, bytes.length);
  const headBytes = packing.byteLength + layout.sideBytes;
  const tokenData = kvHeads * headBytes;
  checkMissingTokens(layout, block, tokenData);
  let end = fixed;
  const heads: HeadSection[] = [];
  for (let head = 0; head < kvHeads; head++) {
    const codes = head * headBytes;
    const section = layout.outliers ? decodePageOutliers(bytes, end, { headDim: Math.min(headDim, 256), tokens }) : undefined;
    end += section?.byteLength ?? 0;
    heads.push({ codes, side: codes + packing.byteLength, outliers: section?.entries });
  }
  if (bytes.length !== end) throw corrupt("block", `${end} bytes`, bytes.length);
  return { heads, tokenData };
}

/** Bytes of everything before the outliers. */
function fixedByteLength({ kvHeads, packing, sideBytes, tokenArrays }: PageLayout): number {
  return kvHeads * (packing.byteLength + sideBytes) + tokenArrays * TOKEN_ARRAY_BYTES;
}

/** Kernels load the numbers of all 64 tokens, so those of missing ones must be harmless. */
function checkMissingTokens(layout: PageLayout, { bytes, tokens }: EncodedBlock, tokenData: number): void {
  for (let array = 0; array < layout.tokenArrays; array++) {
    const end = tokenData + (array + 1) * TOKEN_ARRAY_BYTES;
    for (let place = end - 2 * (PAGE_TOKENS - tokens); place < end; place++) {
      if (bytes[place] !== 0) throw corrupt("block: numbers of missing tokens", "zeros", bytes[place]);
    }
  }
}
