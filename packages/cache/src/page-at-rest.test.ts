import { crc32 } from "@kvquant/quant";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { decodePageAtRest, encodePageAtRest } from "./page-at-rest.js";
import type { PageAtRest } from "./page-at-rest.js";

const corrupt = expect.objectContaining({ code: "CORRUPT_DATA" }) as Error;
const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error;

function makePage(keyBytes: number, valueBytes: number): PageAtRest {
  const fill = (length: number, step: number): Uint8Array => Uint8Array.from({ length }, (_, index) => 1 + ((index * step) % 255));
  return {
    tokens: 37,
    key: { tokens: 41, bytes: fill(keyBytes, 7), saturated: 3, clamped: 70000 },
    value: { tokens: 41, bytes: fill(valueBytes, 11), saturated: 5, clamped: 0 },
  };
}

/** The bytes with one changed and the checksum made anew. */
function changed(bytes: Uint8Array, place: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy[place] = value;
  new DataView(copy.buffer).setUint32(8, crc32(copy, 12), true);
  return copy;
}

describe("a page at rest", () => {
  it("has the drawn header, the blocks at multiples of 64, and the bytes of version 1", () => {
    const bytes = encodePageAtRest(makePage(70, 64));
    expect(bytes.length).toBe(64 + 128 + 64);
    expect(String.fromCharCode(...bytes.subarray(0, 4))).toBe("KVQP");
    const numbers = Array.from({ length: 15 }, (_, index) => new DataView(bytes.buffer).getUint32(4 + 4 * index, true));
    expect(numbers).toEqual([1, crc32(bytes, 12), 37, 41, 70, 64, 3, 70000, 5, 0, 0, 0, 0, 0, 0]);
    expect([...bytes.subarray(64, 67), ...bytes.subarray(134, 192), ...bytes.subarray(192, 195)]).toEqual([1, 8, 15, ...new Array<number>(58).fill(0), 1, 12, 23]);
    expect(crc32(bytes).toString(16)).toBe("70093b50");
  });

  it("comes back as it was, for blocks of any size, at any place in memory", () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(300), fc.nat(9), (keyBytes, valueBytes, shift) => {
        const page = makePage(keyBytes, valueBytes);
        const bytes = encodePageAtRest(page);
        const memory = new Uint8Array(bytes.length + shift + 5).fill(0xee);
        memory.set(bytes, shift);
        const decoded = decodePageAtRest(memory.subarray(shift, shift + bytes.length));
        expect(decoded).toEqual(page);
        memory.fill(0);
        expect(decoded).toEqual(page);
      }),
    );
  });

  it("refuses every truncation, every changed byte, and bytes left over", () => {
    const bytes = encodePageAtRest(makePage(70, 10));
    for (let length = 0; length < bytes.length; length++) expect(() => decodePageAtRest(bytes.subarray(0, length))).toThrowError(corrupt);
    for (let place = 0; place < bytes.length; place++) {
      const damaged = bytes.slice();
      damaged[place]! ^= 0x10;
      expect(() => decodePageAtRest(damaged)).toThrowError(corrupt);
    }
    const longer = new Uint8Array(bytes.length + 64);
    longer.set(bytes);
    expect(() => decodePageAtRest(changed(longer, 0, "K".charCodeAt(0)))).toThrowError(corrupt);
  });

  it("refuses what no encoder writes, though the checksum fits", () => {
    const bytes = encodePageAtRest(makePage(70, 10));
    // Newer version; more valid than encoded tokens; no tokens; 65 encoded; blocks longer and shorter than they are, up to 4 GB; padding.
    const changes = [[4, 2], [12, 42], [12, 0], [16, 65], [16, 36], [20, 129], [23, 0xff], [24, 65], [27, 0xff], [20, 69], [24, 9], [44, 1], [63, 1], [134, 1], [255, 1]] as const;
    for (const [place, value] of changes) expect(() => decodePageAtRest(changed(bytes, place, value)), `${place}`).toThrowError(corrupt);
    expect(() => decodePageAtRest(changed(bytes, 4, 2))).toThrowError("expected version 1, got 2; update kvquant");
  });

  it("refuses pages that are none", () => {
    const page = makePage(8, 8);
    const cases: PageAtRest[] = [{ ...page, tokens: 0 }, { ...page, tokens: 42 }, { ...page, key: { ...page.key, tokens: 65 } }, { ...page, value: { ...page.value, tokens: 40 } }, { ...page, key: { ...page.key, saturated: -1 } }];
    for (const broken of cases) expect(() => encodePageAtRest(broken)).toThrowError(invalid);
  });
});
