/** A closed page as bytes of its own, for disks and other machines. */

import { crc32 } from "@kvquant/quant";
import { KvquantError, PAGE_TOKENS, check, checkInteger } from "@kvquant/spec";
import type { EncodedBlock } from "@kvquant/spec";

import type { CachePage } from "./cache-page.js";

/** What is kept of a page: everything but its position, on which no byte of it depends. */
export type PageAtRest = Omit<CachePage, "start">;

const MAGIC = "KVQP";
const VERSION = 1;
/** Start of the key block; blocks start and end at multiples of it. */
const ALIGNMENT = 64;
/** First byte under the checksum. */
const CHECKED = 12;
const COUNTS = ["valid tokens", "encoded tokens", "key bytes", "value bytes", "saturated keys", "clamped keys", "saturated values", "clamped values"] as const;
const HEADER_END = CHECKED + 4 * COUNTS.length;

/**
 * Writes a page; all numbers little-endian (docs/format.md, section 4).
 * ```
 * 0   "KVQP"
 * 4   u32 version, 1
 * 8   u32 CRC-32 of bytes 12 to the end
 * 12  u32 valid tokens, 1 to encoded tokens
 * 16  u32 encoded tokens, 1 to 64
 * 20  u32 bytes of the key block, u32 bytes of the value block
 * 28  u32 saturated keys, u32 clamped keys, u32 saturated values, u32 clamped values
 * 44  zeros up to 64
 * 64  key block, zeros up to a multiple of 64
 * ..  value block, zeros up to a multiple of 64
 * ```
 * @throws INVALID_ARGUMENT when the two blocks do not hold the same tokens, or fewer than are valid
 */
export function encodePageAtRest({ tokens, key, value }: PageAtRest): Uint8Array {
  checkInteger("encodePageAtRest: encoded tokens", key.tokens, { minimum: 1, maximum: PAGE_TOKENS });
  checkInteger("encodePageAtRest: valid tokens", tokens, { minimum: 1, maximum: key.tokens });
  check(value.tokens === key.tokens, "encodePageAtRest: tokens of the value block", `${key.tokens}, as in the key block`, value.tokens);
  const counts = [tokens, key.tokens, key.bytes.length, value.bytes.length, key.saturated, key.clamped, value.saturated, value.clamped];
  counts.forEach((count, index) => checkInteger(`encodePageAtRest: ${COUNTS[index]!}`, count, { minimum: 0, maximum: 2 ** 32 - 1 }));
  const valueStart = ALIGNMENT + align(key.bytes.length);
  const bytes = new Uint8Array(valueStart + align(value.bytes.length));
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < MAGIC.length; index++) bytes[index] = MAGIC.charCodeAt(index);
  view.setUint32(4, VERSION, true);
  counts.forEach((count, index) => view.setUint32(CHECKED + 4 * index, count, true));
  bytes.set(key.bytes, ALIGNMENT);
  bytes.set(value.bytes, valueStart);
  view.setUint32(8, crc32(bytes, CHECKED), true);
  return bytes;
}

/**
 * Reads a page; its blocks are copies. What they hold is checked by the codecs that decode them.
 * @throws CORRUPT_DATA for other bytes, a newer version, a wrong checksum, sizes that are not those of the bytes, or padding that is not zero
 */
export function decodePageAtRest(bytes: Uint8Array): PageAtRest {
  checkCorrupt(bytes.length >= ALIGNMENT, `at least ${ALIGNMENT} bytes`, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  checkCorrupt(magic === MAGIC, `bytes that start with ${MAGIC}`, JSON.stringify(magic));
  const version = view.getUint32(4, true);
  checkCorrupt(version === VERSION, `version ${VERSION}`, version > VERSION ? `${version}; update kvquant` : version);
  const checksum = crc32(bytes, CHECKED);
  checkCorrupt(view.getUint32(8, true) === checksum, `checksum ${view.getUint32(8, true).toString(16)}`, `${checksum.toString(16)}; the page is damaged or cut off`);

  const [tokens, encoded, keyBytes, valueBytes, saturatedKeys, clampedKeys, saturatedValues, clampedValues] = COUNTS.map((_, index) => view.getUint32(CHECKED + 4 * index, true)) as Counts;
  checkCorrupt(encoded >= 1 && encoded <= PAGE_TOKENS, `1 to ${PAGE_TOKENS} encoded tokens`, encoded);
  checkCorrupt(tokens >= 1 && tokens <= encoded, `1 to ${encoded} valid tokens`, tokens);
  const valueStart = ALIGNMENT + align(keyBytes);
  const end = valueStart + align(valueBytes);
  checkCorrupt(bytes.length === end, `${end} bytes for blocks of ${keyBytes} and ${valueBytes}`, bytes.length);
  for (const [from, to] of [[HEADER_END, ALIGNMENT], [ALIGNMENT + keyBytes, valueStart], [valueStart + valueBytes, end]] as const) {
    for (let place = from; place < to; place++) checkCorrupt(bytes[place] === 0, "zeros as padding", bytes[place]!);
  }
  const block = (start: number, length: number, saturated: number, clamped: number): EncodedBlock => ({ tokens: encoded, bytes: bytes.slice(start, start + length), saturated, clamped });
  return { tokens, key: block(ALIGNMENT, keyBytes, saturatedKeys, clampedKeys), value: block(valueStart, valueBytes, saturatedValues, clampedValues) };
}

type Counts = [number, number, number, number, number, number, number, number];

function align(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

function checkCorrupt(condition: boolean, expected: string, got: string | number): void {
  if (!condition) throw new KvquantError("CORRUPT_DATA", `page at rest: expected ${expected}, got ${got}`);
}
