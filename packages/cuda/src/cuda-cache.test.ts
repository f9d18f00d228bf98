import { describe, expect, it } from "vitest";

import type { KvCache } from "@kvquant/cache";
import { feed, maximumDifference, randomSequence, rowsOf } from "@kvquant/cache/testing";

import { createCudaDevice } from "./cuda-device.js";
import { createCudaKernels } from "./cuda-kernels.js";
import { createCudaCache, openCudaPlan } from "./cuda-plan.js";
import type { CudaLayerPlan } from "./cuda-plan.js";
import { takeAllMemory, useEmulatedDevice } from "./fixtures/emulated-device.js";
import { addonIsBuilt, collectGarbage } from "./fixtures/fake-driver.js";
import { feedLast, optionsOf, referenceOf, shapeOf } from "./fixtures/test-caches.js";
import type { TestCacheOptions } from "./fixtures/test-caches.js";

/** Puts a sequence through both caches in chunks and returns the largest difference of outputs; values are of the order of 1. */
async function compare(caches: readonly [KvCache, KvCache], chunks: readonly number[], seed = 5): Promise<number> {
  const [first, second] = caches;
  const sequence = randomSequence(first.shape, 600, seed);
  let worst = 0;
  for (const chunk of chunks) {
    const range = { from: first.length, to: first.length + chunk };
    const difference = maximumDifference(await feedLast(first, sequence, range), await feedLast(second, sequence, range));
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

describe.skipIf(!addonIsBuilt())("a cache on a device", () => {
  const on = useEmulatedDevice();

  const chunks = [100, 1, 33, 1, 1, 64, 1, 1];

  it.each(["fp16", "kvq2", "nuq2-1%"])("returns what the TypeScript cache returns and holds the same pages, %s", async (preset) => {
    for (const [kvHeads, group, headDim] of [[3, 3, 64], [1, 1, 64]] as const) {
      const options = optionsOf({ preset, shape: shapeOf(kvHeads, group, headDim) });
      const reference = referenceOf(options);
      using cache = createCudaCache({ ...options, kernels: on.kernels });
      expect(await compare([cache, reference], chunks)).toBeLessThan(6e-3);
      expect(cache.backends()).toEqual(["cuda-sm90"]);
      expect(cache.layer(0).pages()).toEqual(reference.layer(0).pages());
      expect(cache.layer(0).pages()).toHaveLength(preset === "fp16" ? 0 : 2);
      expect([cache.bytes(), cache.bitsPerValue()]).toEqual([reference.bytes(), reference.bitsPerValue()]);
    }
  });

  it("follows other head dims and bits, partial rotary dims, YaRN factors, sinks and tails", async () => {
    const yarn = { type: "yarn", factor: 4, originalMaxPositionEmbeddings: 64 } as const;
    const shape = shapeOf(1, 2, 64);
    const cases: TestCacheOptions[] = [
      { preset: "kvq4", shape: shapeOf(1, 2, 128) },
      { preset: "nuq4-1%", shape: shapeOf(1, 1, 256) },
      { preset: "kvq2", shape, rotaryDim: 32 },
      { preset: "kvq2", shape, scaling: yarn },
      { preset: "kvq2", shape, sinkTokens: 0, tailTokens: 0 },
      { preset: "kvq2", shape, sinkTokens: 5, tailTokens: 130 },
    ];
    for (const each of cases) {
      const options = optionsOf(each);
      const reference = referenceOf(options);
      using cache = createCudaCache({ ...options, kernels: on.kernels });
      expect(await compare([cache, reference], [64, 1, 70, 1, 128])).toBeLessThan(6e-3);
      expect(cache.layer(0).pages()).toEqual(reference.layer(0).pages());
    }
  });

  it("answers a whole prompt as one batch of queries, each with the pages it sees", async () => {
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 64) });
    using cache = createCudaCache({ ...options, kernels: on.kernels });
    const sequence = randomSequence(options.shape, 300, 7);
    const range = { from: 0, to: 290 };
    expect(maximumDifference(await feed(cache, sequence, range), await feed(referenceOf(options), sequence, range))).toBeLessThan(6e-3);
  });

  it("goes on after truncations, forks and restored checkpoints as the TypeScript cache does", async () => {
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 2, 64) });
    const pair = [createCudaCache({ ...options, kernels: on.kernels }), referenceOf(options)] as const;
    expect(await compare(pair, [150, 50])).toBeLessThan(6e-3);
    for (const cache of pair) cache.truncate(180);
    expect(await compare(pair, [1, 20], 6)).toBeLessThan(6e-3);
    // Into a closed page.
    for (const cache of pair) cache.truncate(100);
    expect(await compare(pair, [1, 90], 7)).toBeLessThan(6e-3);
    const restores = pair.map((cache) => cache.checkpoint());
    expect(await compare(pair, [64], 8)).toBeLessThan(6e-3);
    for (const restore of restores) restore();
    const forks = [pair[0].fork(), pair[1].fork()] as const;
    expect(await compare(pair, [70, 1], 9)).toBeLessThan(6e-3);
    expect(await compare(forks, [3, 66], 10)).toBeLessThan(6e-3);
    for (const cache of [...pair, ...forks]) cache.dispose();
    expect(() => pair[0].length).toThrow(expect.objectContaining({ code: "DISPOSED" }));
  });

  it("puts the pages on the device byte for byte", async () => {
    const options = optionsOf({ preset: "nuq2-1%", shape: shapeOf(2, 1, 64) });
    using cache = createCudaCache({ ...options, kernels: on.kernels });
    await compare([cache, referenceOf(options)], [200]);
    const pages = cache.layer(0).pages();
    expect(pages).toHaveLength(2);
    expect(await cache.downloadPages(0)).toEqual(pages.map(({ key, value }) => ({ key: key.bytes, value: value.bytes })));
  });

  it("counts what a fork holds beside its original, as the TypeScript cache does", async () => {
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 64) });
    using cache = createCudaCache({ ...options, kernels: on.kernels });
    const reference = referenceOf(options);
    expect(await compare([cache, reference], [200])).toBeLessThan(6e-3);
    using fork = cache.fork();
    const referenceFork = reference.fork();
    expect(await compare([fork, referenceFork], [70], 6)).toBeLessThan(6e-3);
    expect(fork.bytes(cache)).toEqual(referenceFork.bytes(reference));
    expect(fork.bytes(cache).pages).toBeLessThan(fork.bytes().pages);
  });

  it("shares pages with forks, and gives device memory back when caches are disposed of or collected", async () => {
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 64) });
    const plan = openCudaPlan({ ...options, kernels: on.kernels });
    const cache = plan.createCache();
    const sequence = randomSequence(options.shape, 300, 7);
    await feedLast(cache, sequence, { from: 0, to: 200 });
    const idle = on.device.memory().used - cache.deviceBytes();
    const fork = cache.fork();
    const blocks = cache.layer(0).pages().reduce((sum, { key, value }) => sum + key.bytes.length + value.bytes.length, 0);
    expect(fork.deviceBytes()).toBeGreaterThanOrEqual(blocks);
    expect(await fork.downloadPages(0)).toEqual(await cache.downloadPages(0));
    const alone = on.device.memory().used;
    expect(alone - idle).toBeLessThan(2 * blocks + 200_000);
    cache.dispose();
    expect(on.device.memory().used).toBeGreaterThanOrEqual(idle + blocks);
    expect(() => cache.deviceBytes()).toThrow(expect.objectContaining({ code: "DISPOSED" }));
    await feedLast(fork, sequence, { from: 200, to: 201 });
    fork.dispose();
    expect(on.device.memory().used).toBeLessThanOrEqual(idle);
    await (async () => feedLast(plan.createCache(), sequence, { from: 0, to: 200 }))();
    expect(on.device.memory().used).toBeGreaterThan(idle);
    await collectGarbage();
    expect(on.device.memory().used).toBeLessThanOrEqual(idle);
  });

  it("is intact on the host when device memory runs out, and goes on when there is some again", async () => {
    using small = createCudaDevice({ memoryLimit: 3 << 20 });
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(2, 1, 64) });
    using cache = createCudaCache({ ...options, kernels: createCudaKernels(small, on.images) });
    const reference = referenceOf(options);
    expect(await compare([cache, reference], [150])).toBeLessThan(6e-3);
    const pages = cache.layer(0).pages();
    const giveBack = takeAllMemory(small);
    const sequence = randomSequence(options.shape, 600, 6);
    const before = cache.length;
    await expect(feedLast(cache, sequence, { from: before, to: before + 130 })).rejects.toMatchObject({ code: "OUT_OF_CAPACITY", message: expect.stringMatching(/^layer 0 attend|^layer 0, page 2|layer 0/) });
    // The tokens were appended, the attention failed, and no page closed.
    expect([cache.length, cache.layer(0).pages()]).toEqual([before + 130, pages]);
    giveBack();
    const q = rowsOf(sequence.q, 128, before + 127, before + 130);
    const out = { data: new Float32Array(3 * 128), rows: 3, cols: 128 };
    await cache.layer(0).attend(q, out);
    expect(maximumDifference(out.data, await feedLast(reference, sequence, { from: before, to: before + 130 }))).toBeLessThan(6e-3);
    expect(cache.layer(0).pages()).toEqual(reference.layer(0).pages());
    expect(await cache.downloadPages(0)).toEqual(cache.layer(0).pages().map(({ key, value }) => ({ key: key.bytes, value: value.bytes })));
  });

  it.each(["cuMemcpyHtoDAsync_v2", "cuMemsetD8Async", "cuModuleLoadData", "cuModuleGetFunction", "cuLaunchKernel", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize"])(
    "can be asked again after a failing %s, whichever of an attention's it is",
    async (call) => {
      const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 64) });
      const sequence = randomSequence(options.shape, 200, 7);
      const expected = await feedLast(referenceOf(options), sequence, { from: 0, to: 90 });
      let failures = 0;
      for (let which = 1; ; which++) {
        using cache = createCudaCache({ ...options, kernels: createCudaKernels(on.device, on.images) });
        cache.layer(0).append(rowsOf(sequence.k, 64, 0, 90), rowsOf(sequence.v, 64, 0, 90));
        const out = { data: new Float32Array(3 * 64).fill(NaN), rows: 3, cols: 64 };
        const attend = (): Promise<void> => cache.layer(0).attend(rowsOf(sequence.q, 64, 87, 90), out);
        on.driver.configure(`fail=${call}@${which}:719`);
        const failure = await attend().then(
          () => undefined,
          (error: unknown) => error,
        );
        on.driver.configure("");
        if (failure === undefined) break;
        failures++;
        expect(failure).toMatchObject({ code: "NATIVE_UNAVAILABLE", message: expect.stringContaining(`${call}, `) });
        expect(cache.layer(0).pages()).toEqual([]);
        await attend();
        expect(maximumDifference(out.data, expected)).toBeLessThan(6e-3);
        expect(cache.layer(0).pages()).toHaveLength(1);
      }
      expect(failures).toBeGreaterThan(0);
    },
  );

  it("refuses what it has no kernels for, by name", () => {
    const unsupported = (message: RegExp): unknown => expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(message) });
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 64) });
    expect(() => createCudaCache({ ...optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 80) }), kernels: on.kernels })).toThrow(unsupported(/head dim 80; there are for 64, 128, 256/));
    expect(() => createCudaCache({ ...optionsOf({ preset: "fp16", shape: shapeOf(1, 1, 96) }), kernels: on.kernels })).toThrow(unsupported(/head dim of 64, 128 or 256, got 96/));
    expect(() => createCudaCache({ ...options, sinkTokens: 65, kernels: on.kernels })).toThrow(unsupported(/sinkTokens/));
    expect(() => createCudaCache({ ...options, rope: { ...options.rope, scaling: { type: "dynamic", factor: 2, maxPositionEmbeddings: 64 } }, kernels: on.kernels })).toThrow(unsupported(/dynamic/));
    const [plan] = options.layers as readonly CudaLayerPlan[];
    expect(() => createCudaCache({ ...options, layers: [{ ...plan!, keyFrame: "post-rope" }], kernels: on.kernels })).toThrow(unsupported(/post-rope/));
    expect(() => createCudaCache({ ...options, layers: [{ ...plan!, artifacts: { ...plan!.artifacts, key: { ...plan!.artifacts.key, id: "mine/keys" } } }], kernels: on.kernels })).toThrow(unsupported(/mine\/keys/));
  });

  it("says which kernels are missing when their images were not built", async () => {
    const options = optionsOf({ preset: "fp16", shape: shapeOf(1, 1, 64) });
    using cache = createCudaCache({ ...options, kernels: createCudaKernels(on.device, {}) });
    await expect(feedLast(cache, randomSequence(options.shape, 10, 1), { from: 0, to: 5 })).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringMatching(/expected an image of the family/) });
  });
});
