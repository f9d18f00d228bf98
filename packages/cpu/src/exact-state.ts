/** The record of a cache's exact state: what its closed pages do not hold, bit for bit. */

import { createHash } from "node:crypto";

import { KvquantError, callNative } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";

import type { AddonCache } from "./addon.js";

const MAGIC = "KVQX";
const VERSION = 1;
const DIGEST_AT = 32;
const HEADER = 64;
/** Sinks, tokens, bytes of a layer. */
const LAYER_HEADER = 12;

/** Writes the state of a cache; all numbers little-endian (docs/format.md, section 5). */
export function encodeExactState(handle: AddonCache, shape: CacheShape): Uint8Array {
  const layers = Array.from({ length: shape.layers }, (_, layer) => callNative(() => handle.exportExact(layer), `layer ${layer}`));
  const tableEnd = HEADER + LAYER_HEADER * layers.length;
  const bytes = new Uint8Array(layers.reduce((sum, { values }) => sum + values.byteLength, tableEnd));
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < MAGIC.length; index++) bytes[index] = MAGIC.charCodeAt(index);
  [VERSION, shape.layers, shape.kvHeads, shape.headDim].forEach((value, index) => view.setUint32(4 + 4 * index, value, true));
  let place = tableEnd;
  for (const [layer, { sinks, tokens, values }] of layers.entries()) {
    [sinks, tokens, values.byteLength].forEach((value, index) => view.setUint32(HEADER + LAYER_HEADER * layer + 4 * index, value, true));
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), place);
    place += values.byteLength;
  }
  bytes.set(digest(bytes), DIGEST_AT);
  return bytes;
}

/** Puts one part of a state into a cache. @throws CORRUPT_DATA, INVALID_ARGUMENT; the cache may then hold a part of it */
export function importExactState(handle: AddonCache, shape: CacheShape, { bytes, part }: { bytes: Uint8Array; part: "sinks" | "tail" }): void {
  const columns = shape.kvHeads * shape.headDim;
  for (const [layer, { sinks, tokens, values }] of readLayers(bytes, shape).entries()) {
    const split = 2 * sinks * columns;
    corrupt(values.length >= split, `layer ${layer} with ${sinks} sinks`, `${values.length} numbers`);
    try {
      if (part === "sinks") {
        callNative(() => handle.importExact(layer, "sinks", sinks, values.subarray(0, split)));
      } else {
        callNative(() => handle.importExact(layer, "tail", tokens, values.subarray(split)));
      }
    } catch (error) {
      // The record is intact, so what does not fit is a record of something else.
      if (!KvquantError.isInstance(error) || error.code === "OUT_OF_CAPACITY" || error.code === "DISPOSED") throw error;
      throw new KvquantError("CORRUPT_DATA", `exact state: layer ${layer}: ${error.message}`, { cause: error });
    }
  }
}

function readLayers(bytes: Uint8Array, shape: CacheShape): { sinks: number; tokens: number; values: Uint16Array }[] {
  const tableEnd = HEADER + LAYER_HEADER * shape.layers;
  corrupt(bytes.length >= tableEnd, `at least ${tableEnd} bytes`, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  corrupt(magic === MAGIC, `bytes that start with ${MAGIC}`, JSON.stringify(magic));
  const sizes = [VERSION, shape.layers, shape.kvHeads, shape.headDim];
  sizes.forEach((size, index) => corrupt(view.getUint32(4 + 4 * index, true) === size, `${["version", "layers", "KV heads", "head dim"][index]!} ${size}`, view.getUint32(4 + 4 * index, true)));
  corrupt(digest(bytes).every((byte, index) => bytes[DIGEST_AT + index] === byte), "the SHA-256 it names", "another; it is damaged or cut off");
  let place = tableEnd;
  const layers = Array.from({ length: shape.layers }, (_, layer) => {
    const [sinks, tokens, length] = [0, 4, 8].map((offset) => view.getUint32(HEADER + LAYER_HEADER * layer + offset, true)) as [number, number, number];
    corrupt(length % 2 === 0 && place + length <= bytes.length, `layer ${layer} within ${bytes.length} bytes`, place + length);
    const values = new Uint16Array(bytes.slice(place, place + length).buffer);
    place += length;
    return { sinks, tokens, values };
  });
  corrupt(place === bytes.length, `${place} bytes`, bytes.length);
  return layers;
}

/** SHA-256 of everything but itself. */
function digest(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes.subarray(0, DIGEST_AT)).update(bytes.subarray(HEADER)).digest();
}

function corrupt(condition: boolean, expected: string, got: string | number): void {
  if (!condition) throw new KvquantError("CORRUPT_DATA", `exact state: expected ${expected}, got ${got}`);
}
