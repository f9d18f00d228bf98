/** The frame of every record in a page store: what it is, whose it is, and whether it is whole. */

import { createHash } from "node:crypto";

import { KvquantError } from "@kvquant/spec";

const MAGIC = "KVQR";
const VERSION = 1;
const KINDS = ["page", "point", "mark", "session"] as const;
const KEY_AT = 16;
const DIGEST_AT = 48;
const PAYLOAD_AT = 80;

/** What a record holds; the first part of its key. */
export type RecordKind = (typeof KINDS)[number];

/**
 * Frames a payload; all numbers little-endian (docs/format.md, section 5).
 * ```
 * 0   "KVQR"
 * 4   u32 version, 1
 * 8   u32 kind: 0 page, 1 point, 2 mark, 3 session
 * 12  u32 bytes of the payload
 * 16  SHA-256 of the key
 * 48  SHA-256 of bytes 0 to 47 and the payload
 * 80  payload
 * ```
 */
export function frameRecord(key: string, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PAYLOAD_AT + payload.length);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < MAGIC.length; index++) bytes[index] = MAGIC.charCodeAt(index);
  [VERSION, KINDS.indexOf(kindOf(key)), payload.length].forEach((value, index) => view.setUint32(4 + 4 * index, value, true));
  bytes.set(hashKey(key), KEY_AT);
  bytes.set(payload, PAYLOAD_AT);
  bytes.set(digest(bytes), DIGEST_AT);
  return bytes;
}

/** The payload of the record of `key`, as a view. @throws CORRUPT_DATA for damaged bytes, another version, or the record of another key */
export function unframeRecord(key: string, bytes: Uint8Array): Uint8Array {
  checkRecord(bytes.length >= PAYLOAD_AT, `at least ${PAYLOAD_AT} bytes`, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  checkRecord(magic === MAGIC, `bytes that start with ${MAGIC}`, JSON.stringify(magic));
  checkRecord(view.getUint32(4, true) === VERSION, `version ${VERSION}`, view.getUint32(4, true));
  checkRecord(view.getUint32(8, true) === KINDS.indexOf(kindOf(key)), `a ${kindOf(key)}`, `kind ${view.getUint32(8, true)}`);
  checkRecord(view.getUint32(12, true) === bytes.length - PAYLOAD_AT, `${bytes.length - PAYLOAD_AT} bytes of payload`, view.getUint32(12, true));
  checkRecord(same(hashKey(key), bytes.subarray(KEY_AT, DIGEST_AT)), `the record of ${key}`, "that of another key");
  checkRecord(same(digest(bytes), bytes.subarray(DIGEST_AT, PAYLOAD_AT)), "the SHA-256 it names", "another; it is damaged");
  return bytes.subarray(PAYLOAD_AT);
}

/** Throws CORRUPT_DATA unless `condition` holds. */
export function checkRecord(condition: boolean, expected: string, got: string | number): asserts condition {
  if (!condition) throw new KvquantError("CORRUPT_DATA", `record: expected ${expected}, got ${got}`);
}

function kindOf(key: string): RecordKind {
  return key.slice(0, key.indexOf("/")) as RecordKind;
}

function hashKey(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}

/** SHA-256 of everything but itself. */
function digest(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes.subarray(0, DIGEST_AT)).update(bytes.subarray(PAYLOAD_AT)).digest();
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
