import { describe, expect, it } from "vitest";

import type { AttentionKernel, KvquantErrorCode, Matrix } from "@kvquant/spec";

import { expectCode, heldKernel, makeCache, sequence, zeros } from "./fixtures/small-cache.js";
import type { KvCache } from "./kv-cache.js";
import { feed, feedInChunks, maximumDifference, rowsOf } from "./testing/test-sequence.js";
import { float32Codec } from "./testing/index.js";
import { typescriptKernel } from "./typescript-kernel.js";

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
    const { kernel, finish } = heldKernel();
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
    const { kernel, finish } = heldKernel();
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
    const { kernel, finish } = heldKernel();
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
