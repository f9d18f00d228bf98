import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { createKvCache } from "@kvquant/cache";
import type { KvCache } from "@kvquant/cache";
import { feed, maximumDifference, randomSequence } from "@kvquant/cache/testing";
import { openArtifact } from "@kvquant/quant";
import { randomArtifact } from "@kvquant/quant/testing";
import { createRope } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape } from "@kvquant/spec";

import { createCudaDevice } from "./cuda-device.js";
import type { CudaDevice } from "./cuda-device.js";
import { createCudaKernels } from "./cuda-kernels.js";
import type { CudaKernels, KernelFamily } from "./cuda-kernels.js";
import { createCudaCache, openCudaPlan } from "./cuda-plan.js";
import type { CudaCacheOptions } from "./cuda-plan.js";
import { emulatedKernels } from "./fixtures/emulated-kernels.js";
import { addonIsBuilt, collectGarbage, createFakeDriver } from "./fixtures/fake-driver.js";
import type { FakeDriver } from "./fixtures/fake-driver.js";

const shapeOf = (kvHeads: number, group: number, headDim: number): CacheShape => ({ layers: 1, queryHeads: kvHeads * group, kvHeads, headDim });

interface PairOptions {
  readonly preset: string;
  readonly shape: CacheShape;
  readonly tailTokens?: number;
  readonly sinkTokens?: number;
  readonly scaling?: RopeConfig["scaling"];
  readonly rotaryDim?: number;
}

/** Options of a cache on the device and one in TypeScript with the same contents. */
function optionsOf({ preset, shape, tailTokens = 10, sinkTokens = 1, scaling = { type: "none" }, rotaryDim = shape.headDim }: PairOptions): Omit<CudaCacheOptions, "kernels"> {
  const rope: RopeConfig = { headDim: shape.headDim, rotaryDim, base: 10000, scaling };
  if (preset === "fp16") return { shape, rope, layers: "fp16", tailTokens, sinkTokens };
  const artifact = randomArtifact(preset, shape, rope);
  return { shape, rope, layers: openArtifact(artifact).map((plan, layer) => ({ ...plan, artifacts: artifact.layers[layer]! })), tailTokens, sinkTokens };
}

const referenceOf = (options: Omit<CudaCacheOptions, "kernels">): KvCache => createKvCache({ ...options, rope: createRope(options.rope) });

/** Puts a sequence through both caches in chunks and returns the largest difference of outputs; values are of the order of 1. */
async function compare(caches: readonly [KvCache, KvCache], tokens: number, chunks: readonly number[], seed = 5): Promise<number> {
  const sequence = randomSequence(caches[0].shape, tokens, seed);
  let worst = 0;
  for (let from = caches[0].length, index = 0; from < tokens; index++) {
    const to = Math.min(tokens, from + chunks[Math.min(index, chunks.length - 1)]!);
    const difference = maximumDifference(await feed(caches[0], sequence, { from, to }), await feed(caches[1], sequence, { from, to }));
    if (!(difference <= worst)) worst = difference;
    from = to;
  }
  return worst;
}

describe.skipIf(!addonIsBuilt())("a cache on a device", () => {
  let images: Record<KernelFamily, Uint8Array>;
  let driver: FakeDriver;
  let device: CudaDevice;
  let kernels: CudaKernels;
  beforeAll(() => {
    images = emulatedKernels();
  });
  beforeEach(() => {
    driver = createFakeDriver();
    device = createCudaDevice();
    kernels = createCudaKernels(device, images);
  });
  afterEach(() => {
    device.dispose();
    const { allocations, streams, modules, contexts, misuses } = driver.counts();
    expect({ allocations, streams, modules, contexts, misuses }).toEqual({ allocations: 0, streams: 0, modules: 0, contexts: 0, misuses: 0 });
  });
  afterAll(() => driver.remove());

  it.each(["fp16", "kvq2", "nuq2-1%"])("returns what the TypeScript cache returns and holds the same pages, %s", async (preset) => {
    for (const [kvHeads, group] of [[3, 3], [2, 1]] as const) {
      const options = optionsOf({ preset, shape: shapeOf(kvHeads, group, 64) });
      const reference = referenceOf(options);
      const cache = createCudaCache({ ...options, kernels });
      expect(await compare([cache, reference], 220, [100, 1, 33, 1, 1, 64, 1])).toBeLessThan(6e-3);
      expect(cache.backends()).toEqual(["cuda-sm90"]);
      expect(cache.layer(0).pages()).toEqual(reference.layer(0).pages());
      expect(cache.layer(0).pages()).toHaveLength(preset === "fp16" ? 0 : 3);
      expect([cache.bytes(), cache.bitsPerValue()]).toEqual([reference.bytes(), reference.bitsPerValue()]);
      cache.dispose();
    }
  });
});
