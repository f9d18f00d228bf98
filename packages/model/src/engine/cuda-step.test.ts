import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { createKvCache } from "@kvquant/cache";
import type { KvCache } from "@kvquant/cache";
import { maximumDifference } from "@kvquant/cache/testing";
import { backendInfo, createThreads } from "@kvquant/cpu";
import { createCudaDevice, createCudaKernels, openCudaPlan } from "@kvquant/cuda";
import type { CudaPlan } from "@kvquant/cuda";
import { addonIsBuilt, createFakeDriver, emulatedKernels } from "@kvquant/cuda/testing";
import type { FakeDriver } from "@kvquant/cuda/testing";
import { createRope } from "@kvquant/rope";
import { tokensOf } from "./fixtures/engine-cases.js";
import { createRandomModelFile, smallConfig } from "./fixtures/random-model-file.js";
import { NativeEngine } from "./native-engine.js";

const rope = { headDim: 64, rotaryDim: 64, base: 10000, scaling: { type: "none" } } as const;
const config = smallConfig("llama", { headDim: 64, queryHeads: 2, kvHeads: 1, rope });
const shape = { layers: config.layers, queryHeads: 2, kvHeads: 1, headDim: 64 };

describe.skipIf(!addonIsBuilt() || !backendInfo().available)("a step of caches on a GPU", () => {
  let driver: FakeDriver;
  let engine: NativeEngine;
  let plan: CudaPlan;
  const disposables: { dispose(): unknown }[] = [];
  // Compiles kernels, which takes minutes under sanitizers on a busy machine.
  beforeAll(() => {
    driver = createFakeDriver();
    engine = NativeEngine.create(createRandomModelFile(config), { threads: createThreads(2) });
    const device = createCudaDevice();
    plan = openCudaPlan({ shape, rope, layers: "fp16", kernels: createCudaKernels(device, emulatedKernels()) });
    disposables.push(device, engine);
  }, 600_000);
  afterAll(async () => {
    for (const each of disposables) await each.dispose();
    driver?.remove();
  });

  it("takes the launches of one sequence a layer, whatever their number, and gives each its logits", async () => {
    const prompts = [20, 3, 70].map((length, shift) => tokensOf(length, config.vocabulary, shift));
    const caches = prompts.map(() => plan.createCache());
    // Exact tokens: compressed ones differ by whole levels where a rounding in the layer below does.
    const references = prompts.map(() => createKvCache({ shape, rope: createRope(rope), layers: "fp16" }));
    expect(engine.batches(caches[0]!)).toBe(true);
    for (const tokens of [prompts, prompts.map(() => [5]), prompts.map(() => [6])]) {
      const step = (each: readonly KvCache[]): Promise<Float32Array> => engine.step(each.map((cache, index) => ({ cache, tokens: tokens[index]!, logits: true })));
      const before = driver.counts().launches;
      const logits = await step(caches);
      // New tokens, attention.
      expect(driver.counts().launches - before).toBe(2 * config.layers);
      // Logits are of the order of 5.
      expect(maximumDifference(logits, await step(references))).toBeLessThan(2e-2);
    }
    for (const cache of caches) cache.dispose();
  });
});
