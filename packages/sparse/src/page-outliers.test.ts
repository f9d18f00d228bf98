import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { roundToHalf } from "@kvquant/packing";
import { csrStore } from "./csr-store.js";
import { decodePageOutliers, encodePageOutliers, pageOutlierByteLength } from "./page-outliers.js";
import type { OutlierEntries } from "./page-outliers.js";
import { entriesFromRows, rowsFromEntries } from "./page-rows.js";

interface Golden {
  readonly cases: readonly { name: string; counts: number[]; deltas: number[]; indices: number[]; hex: string }[];
}
const golden = JSON.parse(readFileSync(new URL("../golden/page-outliers.json", import.meta.url), "utf8")) as Golden;
const corrupt = expect.objectContaining({ code: "CORRUPT_DATA" }) as Error;
const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error;

/** Entries of a page from one list of [index, delta] pairs per token. */
function entriesOf(rows: (readonly (readonly [number, number])[])[]): OutlierEntries {
  const flat = rows.flat();
  const counts = new Uint8Array(64);
  rows.forEach((row, token) => (counts[token] = row.length));
  return { tokens: 64, counts, deltas: Float32Array.from(flat, ([, delta]) => delta), indices: Uint8Array.from(flat, ([index]) => index) };
}

const row = fc
  .uniqueArray(fc.integer({ min: 0, max: 255 }), { maxLength: 15 })
  .chain((indices) => fc.tuple(...indices.sort((a, b) => a - b).map((index) => fc.tuple(fc.constant(index), fc.float({ min: -60000, max: 60000, noNaN: true })))));
const page = fc.array(row, { maxLength: 64 }).map(entriesOf);

describe("page outliers", () => {
  it.each(golden.cases)("writes and reads the golden bytes: $name", ({ counts, deltas, indices, hex }) => {
    const entries = { tokens: 64, counts: Uint8Array.from(counts), deltas: Float32Array.from(deltas), indices: Uint8Array.from(indices) };
    const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
    expect(encodePageOutliers(entries)).toEqual(bytes);
    expect(decodePageOutliers(bytes, 0)).toEqual({ entries, byteLength: bytes.length });
  });

  it("returns any entries with deltas rounded to fp16, at any offset, and takes the bytes it says", () => {
    fc.assert(
      fc.property(page, fc.integer({ min: 0, max: 5 }), (entries, offset) => {
        const bytes = encodePageOutliers(entries);
        expect(bytes.length % 4).toBe(0);
        expect(bytes.length).toBe(pageOutlierByteLength(entries.indices.length));
        const memory = new Uint8Array(bytes.length + offset + 3).fill(0xee);
        memory.set(bytes, offset);
        const decoded = decodePageOutliers(memory, offset);
        expect(decoded.byteLength).toBe(bytes.length);
        expect(decoded.entries.counts).toEqual(entries.counts);
        expect(decoded.entries.indices).toEqual(entries.indices);
        expect(decoded.entries.deltas).toEqual(entries.deltas.map(roundToHalf));
      }),
    );
  });

  it("holds the largest page: 15 outliers in each of 64 tokens", () => {
    const entries = entriesOf(Array.from({ length: 64 }, () => Array.from({ length: 15 }, (_, i) => [i * 17, i] as const)));
    expect(encodePageOutliers(entries).length).toBe(32 + 3 * 960);
    expect(decodePageOutliers(encodePageOutliers(entries), 0).entries).toEqual(entries);
  });

  it("is a CSR block: rows of a store go in and come out", () => {
    fc.assert(
      fc.property(page, (entries) => {
        const decoded = decodePageOutliers(encodePageOutliers(entries), 0).entries;
        const store = rowsFromEntries(decoded, 256);
        expect(store.rows).toBe(64);
        expect(entriesFromRows(store)).toEqual(decoded);
      }),
    );
  });

  it("refuses every truncation", () => {
    const bytes = Uint8Array.from(Buffer.from(golden.cases.find(({ name }) => name === "ragged")!.hex, "hex"));
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodePageOutliers(bytes.subarray(0, length), 0)).toThrowError(corrupt);
    }
    expect(() => decodePageOutliers(bytes, 4000)).toThrowError(corrupt);
  });

  it("refuses indices beyond the head dim, or out of order", () => {
    const bytes = encodePageOutliers(entriesOf([[[3, 1], [63, 2]]]));
    expect(decodePageOutliers(bytes, 0, { headDim: 64 }).entries.indices[1]).toBe(63);
    expect(() => decodePageOutliers(bytes, 0, { headDim: 63 })).toThrowError("expected ascending indices below 63, got 63 at entry 1 of token 0");
    bytes[32 + 4] = 63;
    expect(() => decodePageOutliers(bytes, 0)).toThrowError(corrupt);
  });

  it("refuses entries of tokens that the page does not have, infinite deltas and padding that is not zero", () => {
    const bytes = encodePageOutliers(entriesOf([[], [], [[3, 1]]]));
    expect(decodePageOutliers(bytes, 0, { tokens: 3 }).entries.tokens).toBe(3);
    expect(() => decodePageOutliers(bytes, 0, { tokens: 2 })).toThrowError(corrupt);
    for (const [at, value] of [[33, 0x7c], [33, 0xfe], [35, 1]] as const) {
      const damaged = bytes.slice();
      damaged[at] = value;
      expect(() => decodePageOutliers(damaged, 0)).toThrowError(corrupt);
    }
  });

  it("refuses entries that are not a page's", () => {
    const good = entriesOf([[[3, 1], [4, 2]]]);
    const cases: Partial<OutlierEntries>[] = [
      { counts: new Uint8Array(63) },
      { counts: Uint8Array.from({ length: 64 }, (_, t) => (t === 0 ? 16 : 0)), deltas: new Float32Array(16), indices: Uint8Array.from({ length: 16 }, (_, i) => i) },
      { counts: Uint8Array.from({ length: 64 }, (_, t) => (t === 0 ? 3 : 0)) },
      { deltas: Float32Array.of(1) },
      { deltas: Float32Array.of(1, NaN) },
      { deltas: Float32Array.of(1, 65520) },
      { deltas: Float32Array.of(-Infinity, 1) },
      { indices: Uint8Array.of(4, 3) },
      { indices: Uint8Array.of(4, 4) },
      { tokens: 0 },
      { tokens: 65 },
    ];
    for (const change of cases) {
      expect(() => encodePageOutliers({ ...good, ...change })).toThrowError(invalid);
      expect(() => rowsFromEntries({ ...good, ...change }, 256)).toThrowError(invalid);
    }
    const later = entriesOf([[], [[1, 1]]]);
    expect(() => encodePageOutliers({ ...later, tokens: 1 })).toThrowError(invalid);
    expect(() => rowsFromEntries({ ...later, tokens: 1 }, 256)).toThrowError(invalid);
    expect(() => rowsFromEntries(good, 4)).toThrowError(invalid);
    for (const limits of [{ headDim: 0 }, { headDim: 257 }, { tokens: 0 }, { tokens: 65 }]) {
      expect(() => decodePageOutliers(new Uint8Array(32), 0, limits)).toThrowError(invalid);
    }
    expect(() => decodePageOutliers(new Uint8Array(32), -1)).toThrowError(invalid);
  });

  it("takes rows of as many outliers as a token can have, and copies them out of the store", () => {
    const store = csrStore({ cols: 16, valueType: "fp32" });
    store.appendRow(Array.from({ length: 15 }, (_, i) => i), new Float32Array(15).fill(2));
    const entries = entriesFromRows(store);
    expect(decodePageOutliers(encodePageOutliers(entries), 0, { tokens: 1, headDim: 15 }).entries).toEqual(entries);
    store.truncate(0);
    store.appendRow([3], [9]);
    expect([...entries.deltas]).toEqual(new Array<number>(15).fill(2));
    expect(entries.indices[0]).toBe(0);
  });

  it("says of a truncated section how many bytes there are from where it starts", () => {
    const bytes = new Uint8Array(40);
    expect(() => decodePageOutliers(bytes, 10)).toThrowError("expected 32 bytes of counts, got 30");
    bytes[10] = 15; // 15 entries of token 12 of a section that starts at 4
    expect(() => decodePageOutliers(bytes.subarray(0, 38), 4)).toThrowError("expected 80 bytes for 15 entries, got 34");
  });

  it("refuses store rows with more outliers than a page's token can have", () => {
    const store = rowsFromEntries(entriesOf([]), 256);
    store.truncate(0);
    for (const count of [16, 256]) {
      store.truncate(0);
      store.appendRow(Uint16Array.from({ length: count }, (_, i) => i), new Float32Array(count));
      expect(() => entriesFromRows(store)).toThrowError(invalid);
    }
  });
});
