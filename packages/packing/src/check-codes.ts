/** Checks shared by the packing formats. */

import { KvquantError } from "@kvquant/spec";

/** Throws INVALID_ARGUMENT at the first code of `2^bits` or more, naming its index. */
export function checkCodes(what: string, codes: Uint8Array, bits: number): void {
  // One pass of ORs decides; the search runs only on the way to an error.
  let union = 0;
  for (let index = 0; index < codes.length; index++) union |= codes[index]!;
  if (union >>> bits === 0) return;
  const index = codes.findIndex((code) => code >>> bits !== 0);
  throw new KvquantError("INVALID_ARGUMENT", `${what}: expected codes below ${2 ** bits} (${bits} bits), got ${codes[index]} at index ${index}`);
}

/** Throws CORRUPT_DATA unless `bytes` has exactly `length` bytes. */
export function checkPackedLength(what: string, bytes: Uint8Array, length: number): void {
  if (bytes.length === length) return;
  throw new KvquantError("CORRUPT_DATA", `${what}: expected ${length} packed bytes, got ${bytes.length}; the block is truncated or of another format`);
}
