/** Payloads of page and point records. */

import { decodePageAtRest, encodePageAtRest } from "@kvquant/cache";
import type { PageAtRest } from "@kvquant/cache";

import { checkRecord } from "./record-frame.js";

/**
 * One page of all layers: `u32 layers`, the bytes of each layer as `u32`, then each layer's page at rest.
 */
export function encodePages(pages: readonly PageAtRest[]): Uint8Array {
  const parts = pages.map(encodePageAtRest);
  const head = 4 + 4 * parts.length;
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, head));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, parts.length, true);
  let place = head;
  for (const [index, part] of parts.entries()) {
    view.setUint32(4 + 4 * index, part.length, true);
    bytes.set(part, place);
    place += part.length;
  }
  return bytes;
}

/** @throws CORRUPT_DATA */
export function decodePages(payload: Uint8Array, layers: number): PageAtRest[] {
  const head = 4 + 4 * layers;
  checkRecord(payload.length >= head, `at least ${head} bytes`, payload.length);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  checkRecord(view.getUint32(0, true) === layers, `${layers} layers`, view.getUint32(0, true));
  let place = head;
  const pages = Array.from({ length: layers }, (_, index) => {
    const end = place + view.getUint32(4 + 4 * index, true);
    checkRecord(end <= payload.length, `layer ${index} within ${payload.length} bytes`, end);
    const page = decodePageAtRest(payload.subarray(place, end));
    place = end;
    return page;
  });
  checkRecord(place === payload.length, `${place} bytes`, payload.length);
  return pages;
}

/** What a resume point adds to its pages: `u32 tokens`, `u32 closed pages`, then the exact state. */
export interface PointRecord {
  readonly tokens: number;
  readonly pages: number;
  readonly state: Uint8Array;
}

export function encodePoint({ tokens, pages, state }: PointRecord): Uint8Array {
  const bytes = new Uint8Array(8 + state.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, tokens, true);
  view.setUint32(4, pages, true);
  bytes.set(state, 8);
  return bytes;
}

/** @throws CORRUPT_DATA */
export function decodePoint(payload: Uint8Array): PointRecord {
  checkRecord(payload.length >= 8, "at least 8 bytes", payload.length);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return { tokens: view.getUint32(0, true), pages: view.getUint32(4, true), state: payload.subarray(8) };
}
