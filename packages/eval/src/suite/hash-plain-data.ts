/** Identifies plain data, such as a fitted artifact, by its content. */

import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";

/**
 * SHA-256 in hex of numbers, strings, booleans, arrays, typed arrays and records, whatever the order of a record's names. Undefined
 * members count as absent. Every value is written with its kind and length, so that different data is different bytes.
 */
export function hashPlainData(value: unknown): string {
  const hash = createHash("sha256");
  addValue(hash, value);
  return hash.digest("hex");
}

function addValue(hash: Hash, value: unknown): void {
  if (ArrayBuffer.isView(value)) {
    hash.update(`${value.constructor.name} ${value.byteLength}:`);
    hash.update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  } else if (Array.isArray(value)) {
    hash.update(`array ${value.length}:`);
    for (const item of value) addValue(hash, item);
  } else if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, member]) => member !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
    hash.update(`record ${entries.length}:`);
    for (const [name, member] of entries) {
      addValue(hash, name);
      addValue(hash, member);
    }
  } else {
    const text = String(value);
    hash.update(`${typeof value} ${Buffer.byteLength(text)}:${text}`);
  }
}
