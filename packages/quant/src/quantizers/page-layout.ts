/** Where the parts of a block lie. */

import { PAGE_TOKENS } from "@kvquant/spec";
import type { EncodedBlock } from "@kvquant/spec";
import { decodePageOutliers, encodePageOutliers } from "@kvquant/sparse";
import type { OutlierEntries } from "@kvquant/sparse";
import { corrupt } from "../corrupt.js";
import type { HeadPacking } from "./head-packing.js";

/**
 * Layout of a block's bytes; sizes are those of a full page, whatever the number of tokens held.
 * ```
 * block      head 0 | head 1 | .. | head kvHeads-1 | token data
 * head       codes        packing.byteLength
 *            side data    sideBytes (page-local scales: headDim u8 scales, headDim u8 zeros, zeros up to a multiple of 64)
 *            outliers     only with `outliers`: 32 B of 4-bit counts, fp16 deltas, u8 indices, zeros up to a multiple of 4
 * token data tokenArrays x 64 x fp16 little-endian (values: scale, then zero; rotated values: 3 r), zeros for missing tokens
 * ```
 * Codes of missing tokens are 0. Pinned by the golden hashes of quantizers.test.ts.
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
  const { kvHeads, packing, sideBytes, outliers } = layout;
  const headBytes = packing.byteLength + sideBytes;
  const tokenBytes = layout.tokenArrays * PAGE_TOKENS * 2;
  const fixed = new Uint8Array(kvHeads * headBytes + (outliers ? 0 : tokenBytes));
  const sections: Uint8Array[] = [];
  let heads = 0;
  return {
    addHead({ codes, side, outliers: entries }) {
      const start = heads++ * headBytes;
      packing.pack(codes, fixed.subarray(start, start + packing.byteLength));
      if (side !== undefined) fixed.set(side, start + packing.byteLength);
      if (entries !== undefined) sections.push(encodePageOutliers(entries));
    },
    finish(writeTokenData) {
      if (!outliers) {
        writeTokenData?.(fixed, kvHeads * headBytes);
        return fixed;
      }
      let size = fixed.length + tokenBytes;
      for (const section of sections) size += section.length;
      const bytes = new Uint8Array(size);
      let offset = 0;
      for (let head = 0; head < kvHeads; head++) {
        bytes.set(fixed.subarray(head * headBytes, (head + 1) * headBytes), offset);
        offset += headBytes;
        bytes.set(sections[head]!, offset);
        offset += sections[head]!.length;
      }
      writeTokenData?.(bytes, offset);
      return bytes;
    },
  };
}

/**
 * Finds the parts of a block.
 * @throws CORRUPT_DATA when tokens are not 1 to 64, a section is cut off or malformed, an outlier lies outside the head or beyond
 * the tokens held, or bytes are left over
 */
export function parseBlock(layout: PageLayout, block: EncodedBlock): BlockSections {
  const { bytes, tokens } = block;
  if (!Number.isInteger(tokens) || tokens < 1 || tokens > PAGE_TOKENS) throw corrupt("block: tokens", "1 to 64", tokens);
  const tokenBytes = layout.tokenArrays * PAGE_TOKENS * 2;
  const headBytes = layout.packing.byteLength + layout.sideBytes;
  const heads: HeadSection[] = [];
  let offset = 0;
  for (let head = 0; head < layout.kvHeads; head++) {
    if (offset + headBytes > bytes.length) throw corrupt("block", `at least ${offset + headBytes} bytes`, bytes.length);
    const codes = offset;
    offset += headBytes;
    let outliers: OutlierEntries | undefined;
    if (layout.outliers) {
      const section = decodePageOutliers(bytes, offset);
      checkOutliers(section.entries, tokens, layout.headDim);
      outliers = section.entries;
      offset += section.byteLength;
    }
    heads.push({ codes, side: codes + layout.packing.byteLength, outliers });
  }
  if (bytes.length !== offset + tokenBytes) throw corrupt("block", `${offset + tokenBytes} bytes`, bytes.length);
  return { heads, tokenData: offset };
}

function checkOutliers(entries: OutlierEntries, tokens: number, headDim: number): void {
  for (let token = tokens; token < PAGE_TOKENS; token++) {
    if (entries.counts[token]! > 0) throw corrupt(`block: outliers of token ${token}`, `none beyond ${tokens} tokens`, entries.counts[token]);
  }
  for (let index = 0; index < entries.indices.length; index++) {
    if (entries.indices[index]! >= headDim) throw corrupt("block: outlier index", `below the head dim ${headDim}`, entries.indices[index]);
    if (!Number.isFinite(entries.deltas[index]!)) throw corrupt("block: outlier delta", "a finite number", entries.deltas[index]);
  }
}
