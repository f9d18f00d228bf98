import { describe, expect, it } from "vitest";

import { expectCode, feedBoth, makeCache, other, sequence, zeros } from "./fixtures/small-cache.js";
import { feed, maximumDifference, rowsOf } from "./testing/test-sequence.js";

describe("truncate", () => {
  it("into exact tokens forgets them without a trace", async () => {
    const straight = makeCache();
    await feedBoth(straight, sequence, 0, 150);
    const expected = await feedBoth(straight, other, 150, 260);
    const cut = makeCache();
    await feedBoth(cut, sequence, 0, 150);
    await feedBoth(cut, sequence, 150, 190);
    cut.truncate(150);
    expect(cut.length).toBe(150);
    expect(maximumDifference(await feedBoth(cut, other, 150, 260), expected)).toBeLessThan(1e-6);
  });

  it("into a closed page shortens it, keeps its block, and starts the next page there", async () => {
    const cache = makeCache({ tailTokens: 64 });
    await feedBoth(cache, sequence, 0, 260);
    const before = cache.layer(0).pages();
    expect(before.map(({ start, tokens }) => [start, tokens])).toEqual([[1, 64], [65, 64], [129, 64]]);
    const block = before[1]!.key;
    cache.truncate(100);
    await feedBoth(cache, other, 100, 100 + 127);
    expect(cache.layer(0).pages().map(({ start, tokens }) => [start, tokens])).toEqual([[1, 64], [65, 35]]);
    await feedBoth(cache, other, 227, 228);
    const after = cache.layer(0).pages();
    expect(after.map(({ start, tokens }) => [start, tokens])).toEqual([[1, 64], [65, 35], [100, 64]]);
    expect(after[1]!.key).toBe(block);
    expect(cache.length).toBe(228);
  });

  it("keeps compressed tokens compressed and reads only the valid ones", async () => {
    const cache = makeCache({ tailTokens: 2 });
    await feed(cache, sequence, { from: 0, to: 131 });
    cache.layer(0).truncate(70);
    const out = await feed(cache, other, { from: 70, to: 71 });
    // The same sequence in an fp16 cache with what the offset codecs add to tokens 1 .. 69.
    const k = sequence.k.slice(0, 71 * 8);
    const v = sequence.v.slice(0, 71 * 8);
    k.set(other.k.subarray(70 * 8, 71 * 8), 70 * 8);
    v.set(other.v.subarray(70 * 8, 71 * 8), 70 * 8);
    for (let i = 8; i < 70 * 8; i++) {
      k[i] = k[i]! + 0.5;
      v[i] = v[i]! + 8;
    }
    const exact = makeCache({ layers: "fp16" });
    exact.layer(0).append({ data: k, rows: 71, cols: 8 }, { data: v, rows: 71, cols: 8 });
    const expected = zeros(1, 16);
    await exact.layer(0).attend(rowsOf(other.q, 16, 70, 71), expected);
    expect(maximumDifference(out, expected.data)).toBeLessThan(0.01);
  });

  it("to a page border, into the sinks and to nothing leaves a cache that goes on like a new one", async () => {
    for (const [cut, pages] of [[129, 2], [65, 1], [2, 1], [1, 0], [0, 0]] as const) {
      const cache = makeCache({ tailTokens: 0, sinkTokens: 1 });
      await feedBoth(cache, sequence, 0, 200);
      cache.truncate(cut);
      expect([cache.length, cache.layer(0).pages().length]).toEqual([cut, pages]);
      if (cut === 2) continue;
      const fresh = makeCache({ tailTokens: 0, sinkTokens: 1 });
      if (cut > 0) await feedBoth(fresh, sequence, 0, cut);
      const expected = await feedBoth(fresh, other, cut, 330);
      expect(maximumDifference(await feedBoth(cache, other, cut, 330), expected)).toBeLessThan(1e-6);
      expect(cache.layer(0).pages()).toEqual(fresh.layer(0).pages());
      expect(cache.bytes()).toEqual(fresh.bytes());
    }
  });

  it("fills the sinks again after a cut into them", async () => {
    const cache = makeCache({ sinkTokens: 4, tailTokens: 1 });
    await feedBoth(cache, sequence, 0, 100);
    cache.truncate(2);
    const fresh = makeCache({ sinkTokens: 4, tailTokens: 1 });
    await feedBoth(fresh, sequence, 0, 2);
    expect(maximumDifference(await feedBoth(cache, other, 2, 100), await feedBoth(fresh, other, 2, 100))).toBeLessThan(1e-6);
  });

  it("evens out layers after a forward pass that stopped half-way", async () => {
    const cache = makeCache();
    await feedBoth(cache, sequence, 0, 10);
    await feed(cache, sequence, { from: 10, to: 14 });
    expect([cache.length, cache.layer(0).length, cache.layer(1).length]).toEqual([10, 14, 10]);
    cache.truncate(cache.length);
    expect([cache.layer(0).length, cache.layer(1).length]).toEqual([10, 10]);
  });

  it("refuses lengths beyond the cache, and queries until something is appended", async () => {
    const cache = makeCache();
    await feedBoth(cache, sequence, 0, 10);
    for (const tokens of [11, -1, 0.5, NaN]) expectCode(() => cache.truncate(tokens), "INVALID_ARGUMENT", /truncate/);
    cache.truncate(5);
    await expect(cache.layer(0).attend(zeros(1, 16), zeros(1, 16))).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/append/) });
  });
});
