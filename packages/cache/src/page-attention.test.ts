import { describe, expect, it } from "vitest";

import { createRope } from "@kvquant/rope";

import { createKvCache } from "./kv-cache.js";
import type { KvCache } from "./kv-cache.js";
import type { LayerAttention } from "./page-attention.js";
import { createMirror } from "./fixtures/mirror.js";
import { feed, maximumDifference, randomSequence } from "./testing/test-sequence.js";
import { float32Codec } from "./testing/index.js";

const shape = { layers: 1, queryHeads: 2, kvHeads: 1, headDim: 8 };
const rope = createRope({ headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "none" } });
const key = float32Codec(0.5);
const value = float32Codec(8);
const sequence = randomSequence(shape, 400);
const makeCache = (attention?: ReturnType<typeof createMirror>): KvCache =>
  createKvCache({ shape, rope, layers: [{ key, value, keyFrame: "pre-rope" }], tailTokens: 20, ...(attention && { attention }) });

describe("a plug-in that reads pages", () => {
  it("gives what decoded tiles give, chunk by chunk and token by token, and is asked for each exact token once", async () => {
    const mirror = createMirror({ shape, rope, key, value });
    const cache = makeCache(mirror);
    const tiles = makeCache();
    for (const [from, to] of [[0, 1], [1, 150], [150, 151], [151, 300]] as const) {
      expect(maximumDifference(await feed(cache, sequence, { from, to }), await feed(tiles, sequence, { from, to }))).toBeLessThan(1e-5);
    }
    expect(cache.backends()).toEqual(["mirror"]);
    expect(cache.layer(0).pages()).toEqual(tiles.layer(0).pages());
    // Every token was exact for the query of its own position.
    expect(mirror.read()).toBe(300);
  });

  it("is told of truncations, restored checkpoints and forks, and released by each cache once", async () => {
    const mirror = createMirror({ shape, rope, key, value });
    const other = randomSequence(shape, 400, 2);
    const cache = makeCache(mirror);
    const tiles = makeCache();
    for (const each of [cache, tiles]) {
      await feed(each, sequence, { from: 0, to: 90 });
      each.truncate(40);
      await feed(each, other, { from: 40, to: 60 });
      const restore = each.checkpoint();
      await feed(each, sequence, { from: 60, to: 200 });
      restore();
    }
    const fork = cache.fork();
    expect(mirror.open()).toBe(2);
    const expected = await feed(tiles, other, { from: 60, to: 130 });
    expect(maximumDifference(await feed(cache, other, { from: 60, to: 130 }), expected)).toBeLessThan(1e-5);
    expect(maximumDifference(await feed(fork, other, { from: 60, to: 130 }), expected)).toBeLessThan(1e-5);
    cache.dispose();
    cache.dispose();
    fork.dispose();
    expect(mirror.open()).toBe(0);
  });

  it("leaves the cache as it was when it fails, and can be asked again", async () => {
    const mirror = createMirror({ shape, rope, key, value });
    let failing = true;
    const cache = makeCache({
      ...mirror,
      openLayer(layer) {
        const inner = mirror.openLayer(layer);
        return {
          ...inner,
          async attend(call) {
            if (failing) throw new Error("out of device memory");
            return inner.attend(call);
          },
        };
      },
    });
    await expect(feed(cache, sequence, { from: 0, to: 200 })).rejects.toThrow("out of device memory");
    expect([cache.length, cache.layer(0).pages()]).toEqual([200, []]);
    failing = false;
    const out = { data: new Float32Array(200 * 16), rows: 200, cols: 16 };
    await cache.layer(0).attend({ data: sequence.q.subarray(0, 200 * 16), rows: 200, cols: 16 }, out);
    expect(maximumDifference(out.data, await feed(makeCache(), sequence, { from: 0, to: 200 }))).toBeLessThan(1e-5);
    expect(cache.layer(0).pages()).toHaveLength(2);
  });

  it("keeps no layer open when a cache or a fork cannot be had whole", async () => {
    const plan = { key, value, keyFrame: "pre-rope" as const };
    const options = { shape: { ...shape, layers: 3 }, rope, layers: [plan, plan, plan] };
    const mirror = createMirror({ shape, rope, key, value });
    let left = 2;
    const limited = {
      ...mirror,
      openLayer(layer: number): LayerAttention {
        if (left-- === 0) throw new Error("out of device memory");
        const inner = mirror.openLayer(layer);
        return {
          ...inner,
          fork() {
            if (left-- === 0) throw new Error("out of device memory");
            return inner.fork();
          },
        };
      },
    };
    expect(() => createKvCache({ ...options, attention: limited })).toThrow("out of device memory");
    expect(mirror.open()).toBe(0);
    left = 5;
    const cache = createKvCache({ ...options, attention: limited });
    expect(() => cache.fork()).toThrow("out of device memory");
    expect(mirror.open()).toBe(3);
    cache.dispose();
    expect(mirror.open()).toBe(0);
    expect(() => createKvCache({ ...options, layers: [plan, plan, {} as never], attention: mirror })).toThrow(/layers\[2\]/);
    expect(mirror.open()).toBe(0);
  });

  it("is refused together with quantizeOpenPage", () => {
    const attention = createMirror({ shape, rope, key, value });
    expect(() => createKvCache({ shape, rope, layers: "fp16", quantizeOpenPage: true, attention })).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});
