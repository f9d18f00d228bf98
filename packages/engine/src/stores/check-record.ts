/** What every store asks of keys and values, so that a record one of them takes is one that all of them take. */

import { KvquantError, check, checkInteger } from "@kvquant/spec";

/** Longest key, in UTF-8 bytes: what fits an LMDB key with room for the part number. */
const MAX_KEY_BYTES = 512;

/** @throws INVALID_ARGUMENT unless the key is a string of 1 to MAX_KEY_BYTES bytes without NUL */
export function checkKey(store: string, key: string): void {
  const bytes = typeof key === "string" ? Buffer.byteLength(key) : 0;
  const good = bytes > 0 && bytes <= MAX_KEY_BYTES && !key.includes("\0");
  check(good, `${store}: key`, `a string of 1 to ${MAX_KEY_BYTES} bytes without NUL`, typeof key === "string" ? `${bytes} bytes` : typeof key);
}

/** @throws INVALID_ARGUMENT unless the value is a Uint8Array */
export function checkValue(store: string, value: Uint8Array): void {
  check(value instanceof Uint8Array, `${store}: value`, "a Uint8Array", typeof value);
}

/** @throws OUT_OF_CAPACITY when a value can never fit */
export function checkFits(store: string, value: Uint8Array, maxBytes: number): void {
  if (value.length > maxBytes) {
    throw new KvquantError("OUT_OF_CAPACITY", `${store}: expected a value of at most ${maxBytes} bytes, got ${value.length}; raise the limit of the store`);
  }
}

/** @throws INVALID_ARGUMENT unless the limit is a whole number of bytes, at least 1 */
export function checkMaxBytes(store: string, maxBytes: number): void {
  checkInteger(`${store}: maxBytes`, maxBytes, { minimum: 1 });
}

/** The error of every method of a store that was closed. */
export function closedError(store: string): KvquantError {
  return new KvquantError("DISPOSED", `${store}: the store is closed`);
}
