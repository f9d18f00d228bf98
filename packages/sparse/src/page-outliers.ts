/** The outlier section of a page of one KV head: a 64-row CSR in bytes. */

import { check, checkInteger, checkLength, KvquantError, PAGE_TOKENS } from "@kvquant/spec";
import { floatFromHalf, halfFromFloat } from "@kvquant/packing";

/** Outliers that a token of a page can have; more saturate. */
export const MAXIMUM_ROW_OUTLIERS = 15;
/** Bytes of the 64 4-bit counts. */
const COUNT_BYTES = PAGE_TOKENS / 2;
/** Bytes of an entry: fp16 delta, u8 index. */
const ENTRY_BYTES = 3;
const HALF_INFINITY = 0x7c00;

/** Outliers of a page of one KV head, token-major: the entries of token t follow those of token t - 1. */
export interface OutlierEntries {
  /** Valid tokens of the page, 1 to 64; later ones have no entries. */
  readonly tokens: number;
  /** `[64]` entries of each token, 0 to 15. */
  readonly counts: Uint8Array;
  /** `[entries]` what is added to the decoded value; stored as fp16. */
  readonly deltas: Float32Array;
  /** `[entries]` keys: code index (RoPE pair p, half h: 2p + h), values: channel; strictly ascending in a token. */
  readonly indices: Uint8Array;
}

/** What the bytes do not say. */
export interface PageOutlierLimits {
  /** Indices must be below it; 1 to 256, default 256. */
  readonly headDim?: number;
  /** Valid tokens of the page, 1 to 64, default 64; later tokens must have no entries. */
  readonly tokens?: number;
}

/** Bytes of an outlier section with `entries` entries: 32 for the counts, 3 an entry, padded to a multiple of 4. */
export function pageOutlierByteLength(entries: number): number {
  return COUNT_BYTES + 4 * Math.ceil((entries * ENTRY_BYTES) / 4);
}

/**
 * Encodes the outliers of a page. Little-endian: 64 4-bit counts (token t in byte t >> 1, an even token in the low nibble),
 * n fp16 deltas, n u8 indices, zeros up to a multiple of 4 bytes. The order of entries is fixed (tokens, then indices, ascending),
 * so that one set of outliers has one encoding. Pinned by golden/page-outliers.json.
 * @throws INVALID_ARGUMENT for counts that do not match, indices that do not ascend, or a delta beyond fp16 (65,504)
 */
export function encodePageOutliers(entries: OutlierEntries): Uint8Array {
  checkEntries("encodePageOutliers", entries);
  const { counts, deltas, indices } = entries;
  const bytes = new Uint8Array(pageOutlierByteLength(indices.length));
  for (let token = 0; token < PAGE_TOKENS; token += 2) bytes[token >> 1] = counts[token]! | (counts[token + 1]! << 4);
  for (let i = 0; i < indices.length; i++) {
    const half = halfFromFloat(deltas[i]!);
    if ((half & HALF_INFINITY) === HALF_INFINITY) {
      throw new KvquantError("INVALID_ARGUMENT", `encodePageOutliers: expected deltas within fp16 (65,504), got ${deltas[i]} at entry ${i}; clamp it first`);
    }
    bytes[COUNT_BYTES + 2 * i] = half;
    bytes[COUNT_BYTES + 2 * i + 1] = half >>> 8;
  }
  bytes.set(indices, COUNT_BYTES + 2 * indices.length);
  return bytes;
}

/**
 * Decodes an outlier section at `offset`, and says how many bytes it takes.
 * @throws CORRUPT_DATA when `bytes` ends before the section does, or no encoder writes it: an index of `headDim` or more or
 * out of order, entries beyond `tokens`, a delta that is not finite, padding that is not zero
 * @throws INVALID_ARGUMENT for an offset or limits out of range
 */
export function decodePageOutliers(bytes: Uint8Array, offset: number, limits: PageOutlierLimits = {}): { entries: OutlierEntries; byteLength: number } {
  const { headDim = 256, tokens = PAGE_TOKENS } = limits;
  checkInteger("decodePageOutliers: offset", offset, { minimum: 0 });
  checkInteger("decodePageOutliers: headDim", headDim, { minimum: 1, maximum: 256 });
  checkInteger("decodePageOutliers: tokens", tokens, { minimum: 1, maximum: PAGE_TOKENS });
  checkCorrupt(bytes.length >= offset + COUNT_BYTES, `${COUNT_BYTES} bytes of counts`, bytes.length - offset);

  const counts = new Uint8Array(PAGE_TOKENS);
  let total = 0;
  for (let token = 0; token < PAGE_TOKENS; token++) {
    const count = (bytes[offset + (token >> 1)]! >>> ((token & 1) * 4)) & 15;
    checkCorrupt(count === 0 || token < tokens, `no entries from token ${tokens} on`, `${count} at token ${token}`);
    counts[token] = count;
    total += count;
  }
  const byteLength = pageOutlierByteLength(total);
  checkCorrupt(bytes.length >= offset + byteLength, `${byteLength} bytes for ${total} entries`, bytes.length - offset);

  const deltas = new Float32Array(total);
  const indexStart = offset + COUNT_BYTES + 2 * total;
  const indices = bytes.slice(indexStart, indexStart + total);
  for (let i = 0, at = offset + COUNT_BYTES; i < total; i++, at += 2) {
    const half = bytes[at]! | (bytes[at + 1]! << 8);
    checkCorrupt((half & HALF_INFINITY) !== HALF_INFINITY, "finite deltas", `fp16 bits ${half} at entry ${i}`);
    deltas[i] = floatFromHalf(half);
  }
  for (let at = indexStart + total; at < offset + byteLength; at++) checkCorrupt(bytes[at] === 0, "zeros as padding", bytes[at]!);
  const problem = findIndexProblem(counts, indices, headDim);
  checkCorrupt(problem === undefined, `ascending indices below ${headDim}`, problem ?? "");
  return { entries: { tokens, counts, deltas, indices }, byteLength };
}

/** Throws INVALID_ARGUMENT unless counts, differences and indices are a page's and agree with each other; that differences fit fp16 is left to whoever stores them. */
export function checkEntries(what: string, { tokens, counts, deltas, indices }: OutlierEntries): void {
  checkInteger(`${what}: tokens`, tokens, { minimum: 1, maximum: PAGE_TOKENS });
  checkLength(`${what}: counts`, counts, PAGE_TOKENS);
  let total = 0;
  for (let token = 0; token < PAGE_TOKENS; token++) {
    const maximum = token < tokens ? MAXIMUM_ROW_OUTLIERS : 0;
    check(counts[token]! <= maximum, `${what}: count of token ${token}`, `at most ${maximum}`, counts[token]);
    total += counts[token]!;
  }
  checkLength(`${what}: indices`, indices, total);
  checkLength(`${what}: deltas`, deltas, total);
  const problem = findIndexProblem(counts, indices, 256);
  check(problem === undefined, `${what}: indices`, "strictly ascending ones in each token", problem);
}

/** The first index that is `headDim` or more, or does not ascend in its token, in words. */
function findIndexProblem(counts: Uint8Array, indices: Uint8Array, headDim: number): string | undefined {
  let i = 0;
  for (let token = 0; token < PAGE_TOKENS; token++) {
    let previous = -1;
    for (const end = i + counts[token]!; i < end; i++) {
      const index = indices[i]!;
      if (index <= previous || index >= headDim) return `${index} at entry ${i} of token ${token}`;
      previous = index;
    }
  }
  return undefined;
}

function checkCorrupt(condition: boolean, expected: string, got: string | number): void {
  if (!condition) throw new KvquantError("CORRUPT_DATA", `decodePageOutliers: expected ${expected}, got ${got}; the page is truncated or damaged`);
}
