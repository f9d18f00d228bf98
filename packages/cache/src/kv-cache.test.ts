import { describe, expect, it } from "vitest";

import { createRope } from "@kvquant/rope";
import type { AttentionKernel, CacheShape, KvquantErrorCode, Matrix } from "@kvquant/spec";

import { createKvCache } from "./kv-cache.js";
import type { KvCache, KvCacheOptions } from "./kv-cache.js";
import { feed, feedInChunks, maximumDifference, randomSequence, rowsOf } from "./testing/test-sequence.js";
import { float32Codec } from "./testing/index.js";
import { typescriptKernel } from "./typescript-kernel.js";

const shape: CacheShape = { layers: 2, queryHeads: 2, kvHeads: 1, headDim: 8 };
const rope = createRope({ headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "none" } });
const sequence = randomSequence(shape, 400);
const other = randomSequence(shape, 400, 2);

function makeCache(options: Partial<KvCacheOptions> = {}): KvCache {
  const plan = { key: float32Codec(0.5), value: float32Codec(8), keyFrame: "pre-rope" as const, tableBytes: 100 };
  return createKvCache({ shape, rope, layers: [plan, plan], ...options });
}

async function feedBoth(cache: KvCache, source: typeof sequence, from: number, to: number): Promise<Float32Array> {
  await feed(cache, source, { from, to, layer: 1 });
  return feed(cache, source, { from, to });
}

function zeros(rows: number, cols: number): Matrix {
  return { data: new Float32Array(rows * cols), rows, cols };
}

function expectCode(action: () => unknown, code: KvquantErrorCode, message?: RegExp): void {
  expect(action).toThrow(expect.objectContaining({ code, ...(message && { message: expect.stringMatching(message) }) }));
}

describe("createKvCache", () => {
  it("refuses options that make no sense, naming them", () => {
    for (const sinkTokens of [-1, 65_537, 2 ** 40]) expectCode(() => makeCache({ sinkTokens }), "INVALID_ARGUMENT", /sinkTokens/);
    expectCode(() => makeCache({ tailTokens: 1.5 }), "INVALID_ARGUMENT", /tailTokens/);
    expectCode(() => makeCache({ layers: ["fp16"] }), "INVALID_ARGUMENT", /layers: expected 2 plans/);
    expectCode(() => makeCache({ layers: ["fp16", {} as never] }), "INVALID_ARGUMENT", /layers\[1\]\.key/);
    expectCode(() => makeCache({ shape: { ...shape, headDim: 12 } }), "INVALID_ARGUMENT", /headDim/);
    expectCode(() => makeCache({ shape: { ...shape, headDim: 16 } }), "INVALID_ARGUMENT", /rope/);
  });

  it("refuses keys encoded after RoPE where the angles change with the length", () => {
    const dynamic = createRope({ headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "dynamic", factor: 2, maxPositionEmbeddings: 64 } });
    const plan = { key: float32Codec(), value: float32Codec(), keyFrame: "post-rope" as const };
    expectCode(() => makeCache({ rope: dynamic, layers: ["fp16", plan] }), "UNSUPPORTED", /layers\[1\]\.keyFrame.*dynamic/);
  });

  it("names the kernel in use", () => {
    expect(makeCache().backends()).toEqual(["typescript"]);
    expect(makeCache({ kernel: { ...typescriptKernel, id: "mine" } }).backends()).toEqual(["mine"]);
  });
});

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

describe("fork", () => {
  it("gives two caches that go on independently, sharing blocks", async () => {
    for (const at of [65, 130, 200]) {
      const trunk = makeCache({ tailTokens: 1 });
      await feedBoth(trunk, sequence, 0, at);
      const branch = trunk.fork();
      expect(branch.layer(0).pages()[0]?.key).toBe(trunk.layer(0).pages()[0]?.key);
      const onTrunk = await feedBoth(trunk, sequence, at, at + 70);
      const onBranch = await feedBoth(branch, other, at, at + 70);
      for (const [source, got] of [[sequence, onTrunk], [other, onBranch]] as const) {
        const fresh = makeCache({ tailTokens: 1 });
        await feedBoth(fresh, sequence, 0, at);
        expect(maximumDifference(got, await feedBoth(fresh, source, at, at + 70))).toBeLessThan(1e-6);
      }
    }
  });

  it("survives truncation and disposal of the cache it came from", async () => {
    const trunk = makeCache();
    await feedBoth(trunk, sequence, 0, 150);
    const branch = trunk.fork();
    const twin = trunk.fork();
    const expected = await feedBoth(twin, sequence, 150, 151);
    trunk.truncate(70);
    await feedBoth(trunk, other, 70, 75);
    trunk.dispose();
    expect(maximumDifference(await feedBoth(branch, sequence, 150, 151), expected)).toBe(0);
  });
});

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

describe("errors", () => {
  const snapshot = (cache: KvCache): unknown => ({ length: cache.layer(0).length, pages: [...cache.layer(0).pages()], bytes: cache.bytes() });

  /** Runs a failing action on a cache of 100 tokens and checks that it goes on as if nothing had happened. */
  async function expectUnchanged(action: (cache: KvCache) => unknown, expected: { code: KvquantErrorCode; message: RegExp }): Promise<void> {
    const cache = makeCache({ tailTokens: 30 });
    await feed(cache, sequence, { from: 0, to: 100 });
    const before = snapshot(cache);
    await expect((async () => action(cache))()).rejects.toMatchObject({ code: expected.code, message: expect.stringMatching(expected.message) });
    expect(snapshot(cache)).toEqual(before);
    const twin = makeCache({ tailTokens: 30 });
    await feed(twin, sequence, { from: 0, to: 100 });
    expect(maximumDifference(await feed(cache, sequence, { from: 100, to: 140 }), await feed(twin, sequence, { from: 100, to: 140 }))).toBe(0);
  }

  it("for matrices of a wrong shape or length change nothing", async () => {
    await expectUnchanged((cache) => cache.layer(0).append(zeros(2, 9), zeros(2, 8)), { code: "INVALID_ARGUMENT", message: /layer 0 append k cols: expected 8, got 9/ });
    await expectUnchanged((cache) => cache.layer(0).append(zeros(2, 8), zeros(3, 8)), { code: "INVALID_ARGUMENT", message: /append v rows: expected 2, got 3/ });
    await expectUnchanged((cache) => cache.layer(0).append(zeros(0, 8), zeros(0, 8)), { code: "INVALID_ARGUMENT", message: /append k rows/ });
    await expectUnchanged((cache) => cache.layer(0).append({ ...zeros(2, 8), rows: 3 }, zeros(3, 8)), { code: "INVALID_ARGUMENT", message: /append k data: expected length 24, got 16/ });
    await expectUnchanged((cache) => cache.layer(0).attend(zeros(1, 8), zeros(1, 8)), { code: "INVALID_ARGUMENT", message: /attend q cols: expected 16, got 8/ });
    await expectUnchanged((cache) => cache.layer(0).attend(zeros(1, 16), zeros(2, 16)), { code: "INVALID_ARGUMENT", message: /attend out rows/ });
    await expectUnchanged((cache) => cache.layer(2), { code: "INVALID_ARGUMENT", message: /layer: expected an integer from 0 to 1, got 2/ });
  });

  it("for NaN, infinity and numbers beyond fp16 name their place and change nothing", async () => {
    for (const bad of [NaN, Infinity, -Infinity, 65520]) {
      const k = zeros(40, 8);
      k.data[13] = bad;
      await expectUnchanged((cache) => cache.layer(0).append(k, zeros(40, 8)), { code: "INVALID_ARGUMENT", message: /layer 0 append k: .* at token 1, channel 5/ });
      await expectUnchanged((cache) => cache.layer(0).append(zeros(40, 8), k), { code: "INVALID_ARGUMENT", message: /layer 0 append v: .* at token 1, channel 5/ });
    }
    const q = zeros(1, 16);
    q.data[3] = NaN;
    await expectUnchanged((cache) => cache.layer(0).attend(q, zeros(1, 16)), { code: "INVALID_ARGUMENT", message: /layer 0 attend q: .*NaN at index 3/ });
  });

  it("for more queries than can still be answered change nothing", async () => {
    // Page 1..64 is compressed for positions from 64 + 30 on; once position 99 has attended, only those 6 can still be answered.
    await expectUnchanged((cache) => cache.layer(0).attend(zeros(7, 16), zeros(7, 16)), { code: "INVALID_ARGUMENT", message: /at most 6 rows/ });
  });

  it("of codecs and kernels change nothing", async () => {
    const plan = { key: float32Codec(), value: float32Codec(), keyFrame: "pre-rope" as const };
    let fail: "encode" | "decode" | "kernel" | undefined;
    const failIf = (what: typeof fail): void => {
      if (fail === what) throw new Error(`${what} failed`);
    };
    const key = {
      encode: (x: Matrix) => (failIf("encode"), plan.key.encode(x)),
      decode: (block: Parameters<typeof plan.key.decode>[0], out: Matrix) => (failIf("decode"), plan.key.decode(block, out)),
    };
    const kernel: AttentionKernel = { specVersion: 1, id: "failing", attend: (block) => (failIf("kernel"), typescriptKernel.attend(block)) };
    const expected = await feedInChunks(makeCache({ layers: [plan, plan] }), sequence, [150, 100, 150]);
    const cache = makeCache({ layers: [{ ...plan, key }, plan], kernel });
    const parts = [await feed(cache, sequence, { from: 0, to: 150 })];
    const layer = cache.layer(0);
    layer.append(rowsOf(sequence.k, 8, 150, 250), rowsOf(sequence.v, 8, 150, 250));
    const before = snapshot(cache);
    const out = zeros(100, 16);
    for (fail of ["encode", "decode", "kernel"] as const) {
      await expect(layer.attend(rowsOf(sequence.q, 16, 150, 250), out)).rejects.toThrow(`${fail} failed`);
      expect(snapshot(cache)).toEqual(before);
    }
    fail = "encode";
    expect(() => layer.append(rowsOf(sequence.k, 8, 250, 260), rowsOf(sequence.v, 8, 250, 260))).toThrow("encode failed");
    expect(snapshot(cache)).toEqual(before);
    fail = undefined;
    await layer.attend(rowsOf(sequence.q, 16, 150, 250), out);
    parts.push(out.data, await feed(cache, sequence, { from: 250, to: 400 }));
    expect(maximumDifference(parts.flatMap((part) => [...part]), expected)).toBeLessThan(1e-6);
  });

  it("refuse a block that holds another number of tokens than it was given", async () => {
    const plan = { key: float32Codec(), value: float32Codec(), keyFrame: "pre-rope" as const };
    const key = { ...plan.key, encode: (x: Matrix) => ({ ...plan.key.encode(x), tokens: 63 }) };
    const cache = makeCache({ layers: [{ ...plan, key }, plan] });
    await expect(feed(cache, sequence, { from: 0, to: 200 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/64 tokens, got 63/) });
  });

  it("allow quantizeOpenPage one append and all its queries, and nothing more", async () => {
    const cache = makeCache({ quantizeOpenPage: true });
    const layer = cache.layer(0);
    layer.append(zeros(5, 8), zeros(5, 8));
    await expect(layer.attend(zeros(4, 16), zeros(4, 16))).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/all 5 queries/) });
    expectCode(() => layer.append(zeros(1, 8), zeros(1, 8)), "INVALID_ARGUMENT", /single append/);
    await layer.attend(zeros(5, 16), zeros(5, 16));
    expectCode(() => layer.append(zeros(1, 8), zeros(1, 8)), "INVALID_ARGUMENT", /single append/);
    layer.truncate(0);
    layer.append(zeros(5, 8), zeros(5, 8));
  });

  it("refuse to touch a layer while its attend is running", async () => {
    let finish = (): void => {};
    const kernel: AttentionKernel = { specVersion: 1, id: "slow", attend: () => new Promise<void>((resolve) => (finish = resolve)) };
    const cache = makeCache({ kernel });
    const layer = cache.layer(0);
    layer.append(zeros(5, 8), zeros(5, 8));
    const running = layer.attend(zeros(5, 16), zeros(5, 16));
    for (const action of [() => layer.append(zeros(1, 8), zeros(1, 8)), () => layer.truncate(0), () => cache.truncate(0), () => cache.fork()]) {
      expectCode(action, "INVALID_ARGUMENT", /no attend running/);
    }
    await expect(layer.attend(zeros(5, 16), zeros(5, 16))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    finish();
    await running;
    layer.append(zeros(1, 8), zeros(1, 8));
  });

  it("restore all layers or none: not while any of them attends", async () => {
    let finish = (): void => {};
    const kernel: AttentionKernel = { specVersion: 1, id: "slow", attend: () => new Promise<void>((resolve) => (finish = resolve)) };
    const cache = makeCache({ kernel });
    const restore = cache.checkpoint();
    for (const layer of [0, 1]) cache.layer(layer).append(zeros(5, 8), zeros(5, 8));
    const running = cache.layer(1).attend(zeros(1, 16), zeros(1, 16));
    expectCode(restore, "INVALID_ARGUMENT", /layer 1 restore: .*no attend running/);
    expect([cache.layer(0).length, cache.layer(1).length]).toEqual([5, 5]);
    finish();
    await running;
    restore();
    expect([cache.layer(0).length, cache.layer(1).length]).toEqual([0, 0]);
  });

  it("say DISPOSED after dispose, also for layers and for an attend that was running", async () => {
    let finish = (): void => {};
    const kernel: AttentionKernel = { specVersion: 1, id: "slow", attend: () => new Promise<void>((resolve) => (finish = resolve)) };
    const cache = makeCache({ kernel });
    const layer = cache.layer(0);
    layer.append(zeros(5, 8), zeros(5, 8));
    const running = layer.attend(zeros(5, 16), zeros(5, 16));
    cache.dispose();
    finish();
    await expect(running).rejects.toMatchObject({ code: "DISPOSED" });
    cache[Symbol.dispose]();
    for (const action of [() => cache.length, () => cache.layer(0), () => cache.truncate(0), () => cache.fork(), () => cache.bytes(), () => cache.bitsPerValue(), () => layer.length, () => layer.pages(), () => layer.truncate(0), () => layer.append(zeros(1, 8), zeros(1, 8))]) {
      expectCode(action, "DISPOSED");
    }
    await expect(layer.attend(zeros(1, 16), zeros(1, 16))).rejects.toMatchObject({ code: "DISPOSED" });
  });
});

describe("layers that attend at the same time", () => {
  it("do not share staging buffers", async () => {
    const slow: AttentionKernel = {
      specVersion: 1,
      id: "slow",
      async attend(block) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        await typescriptKernel.attend(block);
      },
    };
    const together = makeCache({ kernel: slow });
    const [first, second] = await Promise.all([feed(together, sequence, { from: 0, to: 150 }), feed(together, other, { from: 0, to: 150, layer: 1 })]);
    const apart = makeCache();
    expect(maximumDifference(first, await feed(apart, sequence, { from: 0, to: 150 }))).toBe(0);
    expect(maximumDifference(second, await feed(apart, other, { from: 0, to: 150, layer: 1 }))).toBe(0);
  });
});
