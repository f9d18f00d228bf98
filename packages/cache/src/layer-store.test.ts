import { describe, expect, it } from "vitest";

import { createRope, ropeFrequencies } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape } from "@kvquant/spec";

import { createKvCache } from "./kv-cache.js";
import type { KvCacheOptions } from "./kv-cache.js";
import { feed, feedInChunks, maximumDifference, randomSequence } from "./testing/test-sequence.js";
import type { TestSequence } from "./testing/test-sequence.js";
import { float32Codec, pageRule, referenceCacheAttention } from "./testing/index.js";
import type { ReferenceCacheInput } from "./testing/index.js";

/** What the test codecs add: large enough that one token read in the wrong form is a gross error. */
const keyOffset = 0.5;
const valueOffset = 8;
const code: ReferenceCacheInput["code"] = (x, side) => Math.fround(x + (side === "key" ? keyOffset : valueOffset));

function plainRope(headDim: number, rotaryDim = headDim): RopeConfig {
  return { headDim, rotaryDim, base: 10000, scaling: { type: "none" } };
}

function offsetCache(shape: CacheShape, rope: RopeConfig, options: Partial<KvCacheOptions> & { keyFrame?: "pre-rope" | "post-rope" } = {}) {
  const key = float32Codec(keyOffset);
  const value = float32Codec(valueOffset);
  const { keyFrame = "pre-rope", ...rest } = options;
  const layers = Array.from({ length: shape.layers }, () => ({ key, value, keyFrame }));
  return { key, value, cache: createKvCache({ shape, rope: createRope(rope), layers, ...rest }) };
}

function expected(sequence: TestSequence, rope: RopeConfig, rest: Partial<ReferenceCacheInput> & { compressed: ReferenceCacheInput["compressed"] }): Float64Array {
  const { inverseFrequencies, attentionFactor } = ropeFrequencies(rope, sequence.tokens);
  return referenceCacheAttention({ ...sequence, inverseFrequencies, attentionFactor, code, ...rest });
}

/** Values are up to about 12 with the offset. */
const tolerance = 2e-5;

describe("attend against float64 over every token", () => {
  const shapes: readonly CacheShape[] = [
    { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 8 },
    { layers: 1, queryHeads: 6, kvHeads: 2, headDim: 16 },
    { layers: 1, queryHeads: 3, kvHeads: 1, headDim: 64 },
    { layers: 1, queryHeads: 4, kvHeads: 1, headDim: 80 },
  ];
  for (const shape of shapes) {
    for (const sinkTokens of [0, 1, 4]) {
      it(`agrees for ${shape.queryHeads} query heads, ${shape.kvHeads} KV heads of ${shape.headDim}, ${sinkTokens} sinks`, async () => {
        const sequence = randomSequence(shape, 199, 7 + sinkTokens);
        const rope = plainRope(shape.headDim);
        const { cache } = offsetCache(shape, rope, { sinkTokens, tailTokens: 30 });
        const out = await feedInChunks(cache, sequence, [150, 1, 48]);
        expect(maximumDifference(out, expected(sequence, rope, { compressed: pageRule(sinkTokens, 30) }))).toBeLessThan(tolerance);
      });
    }
  }

  const small: CacheShape = { layers: 1, queryHeads: 2, kvHeads: 1, headDim: 16 };

  it("agrees when only part of each head rotates", async () => {
    const sequence = randomSequence(small, 140);
    const rope = plainRope(16, 8);
    const { cache } = offsetCache(small, rope);
    expect(maximumDifference(await feed(cache, sequence, { from: 0, to: 140 }), expected(sequence, rope, { compressed: pageRule(1, 64) }))).toBeLessThan(tolerance);
  });

  it("encodes keys at their rotated positions when the plan says post-rope", async () => {
    const sequence = randomSequence(small, 140);
    const rope = plainRope(16);
    const { cache } = offsetCache(small, rope, { keyFrame: "post-rope", tailTokens: 2 });
    const out = await feedInChunks(cache, sequence, [100, 1]);
    const options = { compressed: pageRule(1, 2) };
    expect(maximumDifference(out, expected(sequence, rope, { ...options, postRope: true }))).toBeLessThan(tolerance);
    expect(maximumDifference(out, expected(sequence, rope, { ...options, postRope: false }))).toBeGreaterThan(0.01);
  });

  it("keeps every token exact in an fp16 layer", async () => {
    const sequence = randomSequence(small, 300);
    const rope = plainRope(16);
    const cache = createKvCache({ shape: small, rope: createRope(rope), layers: "fp16", tailTokens: 2 });
    const out = await feedInChunks(cache, sequence, [270, 1]);
    expect(maximumDifference(out, expected(sequence, rope, { compressed: () => false }))).toBeLessThan(tolerance);
    expect(cache.layer(0).pages()).toEqual([]);
  });

  it("closes a page as soon as it is full when the tail is 0, its last token included", async () => {
    const sequence = randomSequence(small, 140);
    const rope = plainRope(16);
    const compressed = pageRule(1, 0);
    expect([compressed(64, 63), compressed(64, 64)]).toEqual([false, true]);
    for (const chunks of [[1], [140], [64, 1, 63]]) {
      const { cache } = offsetCache(small, rope, { tailTokens: 0 });
      expect(maximumDifference(await feedInChunks(cache, sequence, chunks), expected(sequence, rope, { compressed }))).toBeLessThan(tolerance);
    }
  });

  it("applies the attention factor of yarn twice to rotated channels and never to the others", async () => {
    const sequence = randomSequence(small, 140);
    for (const rotaryDim of [16, 8]) {
      const rope: RopeConfig = { headDim: 16, rotaryDim, base: 10000, scaling: { type: "yarn", factor: 4, originalMaxPositionEmbeddings: 64, attentionFactor: 1.5 } };
      const { cache } = offsetCache(small, rope);
      const out = await feedInChunks(cache, sequence, [100, 1]);
      const options = { compressed: pageRule(1, 64) };
      expect(maximumDifference(out, expected(sequence, rope, options))).toBeLessThan(tolerance);
      expect(maximumDifference(out, expected(sequence, rope, { ...options, attentionFactor: 1 }))).toBeGreaterThan(0.01);
    }
  });

  it("rotates all keys, compressed and exact, with the frequencies of the current length under dynamic scaling", async () => {
    const sequence = randomSequence(small, 200);
    const rope: RopeConfig = { headDim: 16, rotaryDim: 16, base: 10000, scaling: { type: "dynamic", factor: 2, maxPositionEmbeddings: 64 } };
    const { cache } = offsetCache(small, rope);
    const out = await feedInChunks(cache, sequence, [150, 1]);
    const cols = small.queryHeads * small.headDim;
    for (const length of [151, 175, 200]) {
      const whole = expected({ ...sequence, tokens: length }, rope, { compressed: pageRule(1, 64) });
      const last = (length - 1) * cols;
      expect(maximumDifference(out.subarray(last, last + cols), whole.subarray(last, last + cols))).toBeLessThan(tolerance);
    }
  });

  it("shows every token but the sinks compressed under quantizeOpenPage, the query's own too", async () => {
    for (const tokens of [1, 3, 65, 200]) {
      const sequence = randomSequence(small, tokens);
      const rope = plainRope(16);
      const { cache } = offsetCache(small, rope, { sinkTokens: 2, quantizeOpenPage: true });
      const reference = expected(sequence, rope, { compressed: (token) => token >= 2 });
      expect(maximumDifference(await feed(cache, sequence, { from: 0, to: tokens }), reference)).toBeLessThan(tolerance);
      expect(cache.layer(0).pages().map((page) => page.tokens).reduce((a, b) => a + b, 0)).toBe(Math.max(0, tokens - 2));
    }
  });
});

describe("position rule", () => {
  const shape: CacheShape = { layers: 1, queryHeads: 2, kvHeads: 1, headDim: 8 };
  const tokens = 270;
  const sequence = randomSequence(shape, tokens, 3);
  const rope = plainRope(8);
  for (const tailTokens of [1, 2, 63, 64, 65, 100, 128]) {
    it(`gives the same result token by token, in chunks and as a whole, tail ${tailTokens}`, async () => {
      const whole = await feedInChunks(offsetCache(shape, rope, { tailTokens }).cache, sequence, [tokens]);
      expect(maximumDifference(whole, expected(sequence, rope, { compressed: pageRule(1, tailTokens) }))).toBeLessThan(tolerance);
      for (const chunks of [[1], [64], [65, 1, 63, 100], [3, 127, 128, 5], [17], [200, 1]]) {
        const out = await feedInChunks(offsetCache(shape, rope, { tailTokens }).cache, sequence, chunks);
        expect(maximumDifference(out, whole)).toBeLessThan(1e-6);
      }
    });
  }

  it("writes the same bytes however tokens were grouped", async () => {
    const pages = await Promise.all([[tokens], [1], [100, 7]].map(async (chunks) => {
      const { cache } = offsetCache(shape, rope);
      await feedInChunks(cache, sequence, chunks);
      return cache.layer(0).pages();
    }));
    expect(pages[0]!.length).toBe(3);
    expect(pages[1]).toEqual(pages[0]);
    expect(pages[2]).toEqual(pages[0]);
  });

  it("answers the newest queries alone as it answers them within their chunk", async () => {
    const whole = await feedInChunks(offsetCache(shape, rope).cache, sequence, [tokens]);
    const { cache } = offsetCache(shape, rope);
    const layer = cache.layer(0);
    layer.append({ data: sequence.k, rows: tokens, cols: 8 }, { data: sequence.v, rows: tokens, cols: 8 });
    for (const rows of [150, 1]) {
      const out = { data: new Float32Array(rows * 16).fill(NaN), rows, cols: 16 };
      await layer.attend({ data: sequence.q.subarray((tokens - rows) * 16), rows, cols: 16 }, out);
      expect(maximumDifference(out.data, whole.subarray((tokens - rows) * 16))).toBeLessThan(1e-6);
    }
  });

  it("continues after appends that were never queried", async () => {
    const whole = await feedInChunks(offsetCache(shape, rope).cache, sequence, [tokens]);
    const { cache } = offsetCache(shape, rope);
    for (const [from, to] of [[0, 100], [100, 200], [200, 201]] as const) {
      cache.layer(0).append({ data: sequence.k.subarray(from * 8, to * 8), rows: to - from, cols: 8 }, { data: sequence.v.subarray(from * 8, to * 8), rows: to - from, cols: 8 });
    }
    expect(cache.layer(0).pages().length).toBe(2);
    const rest = await feedInChunks(cache, sequence, [tokens]);
    expect(maximumDifference(rest.subarray(201 * 16), whole.subarray(201 * 16))).toBeLessThan(1e-6);
  });
});

describe("pages", () => {
  const shape: CacheShape = { layers: 1, queryHeads: 2, kvHeads: 1, headDim: 8 };
  const sequence = randomSequence(shape, 270);

  it("are decoded once in an attend call, and again in the next", async () => {
    const { cache, key, value } = offsetCache(shape, plainRope(8), { tailTokens: 2 });
    await feed(cache, sequence, { from: 0, to: 260 });
    expect([key.decodes(), value.decodes()]).toEqual([4, 4]);
    await feed(cache, sequence, { from: 260, to: 261 });
    expect([key.decodes(), value.decodes()]).toEqual([8, 8]);
  });

  for (const side of ["key", "value"] as const) {
    it(`are read from their bytes: a corrupted ${side} byte changes the next output`, async () => {
      const codecs = offsetCache(shape, plainRope(8), { tailTokens: 2 });
      await feed(codecs.cache, sequence, { from: 0, to: 260 });
      const fork = codecs.cache.fork();
      const clean = await feed(codecs.cache, sequence, { from: 260, to: 261 });
      const bytes = codecs[side].encoded[1]!.bytes;
      bytes[7] = bytes[7]! ^ 0x40;
      expect(maximumDifference(await feed(fork, sequence, { from: 260, to: 261 }), clean)).toBeGreaterThan(1e-4);
    });
  }
});
