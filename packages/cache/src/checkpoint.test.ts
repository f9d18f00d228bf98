import { describe, expect, it } from "vitest";

import { feedBoth, makeCache, other, sequence, zeros } from "./fixtures/small-cache.js";
import type { KvCache } from "./kv-cache.js";
import { float32Codec } from "./testing/index.js";

describe("checkpoint", () => {
  it("brings back exact tokens that a later pass turned into pages", async () => {
    const straight = makeCache();
    await feedBoth(straight, sequence, 0, 150);
    const expected = await feedBoth(straight, sequence, 150, 160);

    const cache = makeCache();
    await feedBoth(cache, sequence, 0, 150);
    const before = cache.bytes();
    const restore = cache.checkpoint();
    await feedBoth(cache, other, 150, 390);
    expect(cache.bytes().pages).toBeGreaterThan(before.pages);
    restore();
    expect(cache.bytes()).toEqual(before);
    expect(await feedBoth(cache, sequence, 150, 160)).toEqual(expected);
  });

  it("brings back what truncations and other tokens have taken since, in fp16 layers too", async () => {
    for (const layers of ["fp16", undefined] as const) {
      for (const [length, cut] of [[10, 5], [150, 70], [130, 128], [64, 0]] as const) {
        const make = (): KvCache => makeCache({ tailTokens: 0, ...(layers && { layers }) });
        const straight = make();
        await feedBoth(straight, sequence, 0, length);
        const before = straight.bytes();
        const expected = await feedBoth(straight, sequence, length, length + 9);

        const cache = make();
        await feedBoth(cache, sequence, 0, length);
        const restore = cache.checkpoint();
        cache.truncate(cut);
        await feedBoth(cache, other, cut, cut + 8);
        restore();
        expect(cache.length).toBe(length);
        expect(cache.bytes()).toEqual(before);
        expect(await feedBoth(cache, sequence, length, length + 9)).toEqual(expected);
      }
    }
  });

  it("evens out layers when only some of them got a token", () => {
    const cache = makeCache({ layers: ["fp16", { key: float32Codec(), value: float32Codec(), keyFrame: "pre-rope" }] });
    const restore = cache.checkpoint();
    cache.layer(0).append(zeros(3, 8), zeros(3, 8));
    restore();
    expect([cache.layer(0).length, cache.layer(1).length]).toEqual([0, 0]);
    cache.layer(1).append(zeros(3, 8), zeros(3, 8));
    restore();
    expect([cache.layer(0).length, cache.layer(1).length]).toEqual([0, 0]);
  });
});
