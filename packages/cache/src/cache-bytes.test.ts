import { describe, expect, it } from "vitest";

import { feedBoth, makeCache, sequence } from "./fixtures/small-cache.js";

describe("bytes", () => {
  it("of an fp16 cache are 2 bytes a number, in steps of 64 tokens", async () => {
    const cache = makeCache({ layers: "fp16" });
    expect(cache.bytes()).toEqual({ pages: 0, pageHeaders: 0, sinks: 0, exact: 0, tables: 0, total: 0, perToken: 0 });
    expect(cache.bitsPerValue()).toBeUndefined();
    await feedBoth(cache, sequence, 0, 128);
    const perToken = 2 * (2 * 2 * 8);
    expect(cache.bytes()).toEqual({ pages: 0, pageHeaders: 0, sinks: 0, exact: 128 * perToken, tables: 0, total: 128 * perToken, perToken });
    await feedBoth(cache, sequence, 128, 129);
    expect(cache.bytes().exact).toBe(192 * perToken);
  });

  it("of a compressed cache add up to what a hand computation says", async () => {
    const cache = makeCache({ sinkTokens: 4, tailTokens: 64 });
    await feedBoth(cache, sequence, 0, 263);
    // Position 262 with tail 64: tokens up to 198 may be compressed, so pages 4..67, 68..131, 132..195 are closed; 196..262 (67 tokens) are exact.
    const layers = 2;
    const numbers = 8;
    const pages = layers * 3 * 2 * 64 * numbers * 4;
    const sinks = layers * 4 * numbers * 2 * 2;
    const exact = layers * 128 * numbers * 2 * 2;
    const tables = 200;
    const pageHeaders = layers * 3 * 8;
    const total = pages + sinks + exact + tables + pageHeaders;
    expect(cache.bytes()).toEqual({ pages, pageHeaders, sinks, exact, tables, total, perToken: total / 263 });
    expect(cache.bitsPerValue()).toEqual({ key: 32, value: 32, mean: 32 });
    expect([cache.saturated, cache.clamped]).toEqual([2 * 3 * 2 * 1, 2 * 3 * 2 * 2]);
  });

  it("leave the open page of the no-tail protocol out of the bits per value", async () => {
    const cache = makeCache({ quantizeOpenPage: true });
    await feedBoth(cache, sequence, 0, 40);
    expect(cache.bitsPerValue()).toBeUndefined();
    expect(cache.bytes()).toMatchObject({ pages: 2 * 2 * 39 * 8 * 4, exact: 0 });
  });

  it("spread the bytes of a cut page over the tokens that are left", async () => {
    const cache = makeCache({ tailTokens: 0 });
    await feedBoth(cache, sequence, 0, 65);
    cache.truncate(33);
    expect(cache.bitsPerValue()?.mean).toBe(64);
  });
});
