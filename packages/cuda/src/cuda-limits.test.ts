import { describe, expect, it } from "vitest";

import { keyCodecOptions, valueCodecOptions } from "@kvquant/cpu";
import { randomArtifact } from "@kvquant/quant/testing";
import type { QuantizerArtifact } from "@kvquant/spec";
import { maximumDifference, randomSequence } from "@kvquant/cache/testing";

import { loadAddon } from "./addon.js";
import type { AddonAttend } from "./addon.js";
import { createCudaDevice } from "./cuda-device.js";
import { createCudaKernels } from "./cuda-kernels.js";
import { createCudaCache, openCudaPlan } from "./cuda-plan.js";
import { useEmulatedDevice } from "./fixtures/emulated-device.js";
import { addonIsBuilt } from "./fixtures/fake-driver.js";
import { feedLast, optionsOf, referenceOf, shapeOf } from "./fixtures/test-caches.js";

const SHARED_99_KB = 101_376;

interface QuantizerPair {
  readonly key: QuantizerArtifact;
  readonly value: QuantizerArtifact;
}

describe.skipIf(!addonIsBuilt())("limits of devices", () => {
  const on = useEmulatedDevice();

  it.each([
    { preset: "fp16", shape: shapeOf(1, 4, 128) },
    { preset: "fp16", shape: shapeOf(1, 2, 256) },
    { preset: "kvq4", shape: shapeOf(1, 8, 256) },
    { preset: "nuq4-1%", shape: shapeOf(1, 8, 256) },
  ])("of shared memory are kept to: $preset of head dim $shape.headDim and $shape.queryHeads query heads runs where a block has 99 KB", async (each) => {
    on.driver.configure(`shared=${SHARED_99_KB}`);
    using device = createCudaDevice();
    const options = optionsOf(each);
    using cache = createCudaCache({ ...options, kernels: createCudaKernels(device, on.images) });
    const reference = referenceOf(options);
    const sequence = randomSequence(options.shape, 91, 4);
    for (const range of [{ from: 0, to: 90, rows: 1 }, { from: 90, to: 91 }]) {
      expect(maximumDifference(await feedLast(cache, sequence, range), await feedLast(reference, sequence, range))).toBeLessThan(6e-3);
    }
  });

  it("of a grid are kept to: queries of many KV heads take more launches", async () => {
    // 256 queries of 300 heads are more than the 65,535 rows of a grid.
    on.driver.configure("idle");
    const options = optionsOf({ preset: "fp16", shape: shapeOf(300, 1, 64) });
    using cache = createCudaCache({ ...options, kernels: on.kernels });
    const numbers = new Float32Array(256 * 300 * 64);
    // Kernels that do nothing leave what memory holds, which may be no number.
    await feedLast(cache, { shape: options.shape, tokens: 256, q: numbers, k: numbers, v: numbers }, { from: 0, to: 256, rows: 256 }).catch((error: unknown) => expect(error).toMatchObject({ message: expect.stringMatching(/not a number/) }));
    // One that appends, and one that attends for 218 queries at most.
    expect(on.driver.counts().launches).toBeGreaterThan(1);
  });

  it("of exact tokens are told before anything is stored: longer tails than kernels have room for are refused", async () => {
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 64) });
    const most = loadAddon().mostTailTokens(64);
    expect(most).toBe(14_209);
    expect(() => openCudaPlan({ ...options, tailTokens: most + 1, kernels: on.kernels })).toThrow(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(/^tailTokens: expected at most 14209 .* got 14210; use the cpu backend/) }));
    openCudaPlan({ ...options, tailTokens: most, kernels: on.kernels });
    expect(() => openCudaPlan({ ...optionsOf({ preset: "fp16", shape: shapeOf(1, 1, 64) }), tailTokens: 1e6, kernels: on.kernels })).not.toThrow();
  });

  it("of exact tokens are checked by the addon again", async () => {
    const addon = loadAddon();
    const shape = shapeOf(1, 1, 64);
    const [{ key, value }] = randomArtifact("kvq2", shape, { headDim: 64, rotaryDim: 64, base: 10000, scaling: { type: "none" } }).layers as [QuantizerPair];
    const layers = [{ key: keyCodecOptions(key), value: valueCodecOptions(value) }];
    const tables = new addon.Tables(on.kernels.handle, { ...shape, sinkTokens: 0, rotaryDim: 64, attentionFactor: 1, frequencies: new Float64Array(32), layers });
    const layer = new addon.Layer(tables, 0);
    const call = (length: number): AddonAttend => ({
      layer, columns: 64, queryColumns: 64, pages: [], starts: new Float64Array(0), tokens: new Uint32Array(0), length, rows: [], queries: new Float32Array(64), first: length - 1, visible: new Uint32Array(1), out: new Float32Array(64),
    });
    const [outcome] = await tables.attend(0, [call(64 * 224 + 1)]);
    expect(outcome).toMatchObject({ code: "UNSUPPORTED", message: expect.stringMatching(/expected at most 224 pieces of 64 exact tokens that a query sees, got 225/) });
    layer.dispose();
  });

  it("of host memory are none: what is uploaded is kept until it was read, however late that is", async () => {
    on.driver.configure("late");
    for (const preset of ["kvq2", "nuq2-1%"]) {
      const options = optionsOf({ preset, shape: shapeOf(1, 2, 64) });
      using cache = createCudaCache({ ...options, kernels: on.kernels });
      const reference = referenceOf(options);
      const sequence = randomSequence(options.shape, 250, 4);
      for (const range of [{ from: 0, to: 100 }, { from: 100, to: 101 }, { from: 101, to: 250, rows: 1 }]) {
        expect(maximumDifference(await feedLast(cache, sequence, range), await feedLast(reference, sequence, range))).toBeLessThan(6e-3);
      }
    }
  });
});
