import { float32Codec, maximumDifference } from "@kvquant/cache/testing";
import { backendInfo, createNativeCache, createThreads } from "@kvquant/cpu";
import type { Isa, NativeKvCache } from "@kvquant/cpu";
import { afterAll, describe, expect, it } from "vitest";
import type { ModelConfig } from "../config/model-config.js";
import { architectures, tileCache, tokensOf } from "./fixtures/engine-cases.js";
import { runTransformer } from "./fixtures/float64-transformer.js";
import { createRandomModelFile, smallConfig } from "./fixtures/random-model-file.js";
import { NativeEngine } from "./native-engine.js";

const { available, isas } = backendInfo();
const engines: NativeEngine[] = [];
afterAll(async () => {
  await Promise.all(engines.map((engine) => engine.dispose()));
});

function createEngine(config: ModelConfig, isa?: Isa): NativeEngine {
  const engine = NativeEngine.create(createRandomModelFile(config), { threads: createThreads(2), isa });
  engines.push(engine);
  return engine;
}

function nativeCache({ config, threads, isa }: NativeEngine): NativeKvCache {
  const { layers, queryHeads, kvHeads, headDim, rope } = config;
  return createNativeCache({ shape: { layers, queryHeads, kvHeads, headDim }, rope, layers: "fp16", threads, isa });
}

describe.skipIf(!available)("the native engine", () => {
  for (const isa of isas) {
    it.each(architectures)(`agrees with float64 loops for %s, ${isa}`, async (_, config) => {
      const engine = createEngine(config, isa);
      const tokens = tokensOf(21, config.vocabulary);
      const expected = runTransformer(createRandomModelFile(config), tokens).logits;
      for (const cache of [nativeCache(engine), tileCache(engine)]) {
        const hidden = await engine.forward(tokens, cache);
        const logits = await engine.logits(hidden, tokens.length);
        // fp32 weights: only the cache's rounding to fp16 (relative 2^-11) shows; logits are of the order of 5.
        expect(maximumDifference(logits, expected.flatMap((row) => [...row]))).toBeLessThan(2e-2);
        const logProbabilities = (await engine.logProbabilities(hidden, tokens.length)).slice();
        for (let row = 0; row < tokens.length; row++) {
          const sum = logProbabilities.subarray(row * config.vocabulary, (row + 1) * config.vocabulary).reduce((total, value) => total + Math.exp(value), 0);
          expect(sum).toBeCloseTo(1, 5);
        }
      }
    });
  }

  it("gives a row the same bits alone, in a batch with others, on one thread and on two", async () => {
    const config = smallConfig("qwen2", { headDim: 64, rope: { headDim: 64, rotaryDim: 64, base: 10000, scaling: { type: "none" } } });
    const engine = createEngine(config);
    const { width, vocabulary } = config;
    const prompts = [tokensOf(90, vocabulary, 1), tokensOf(1, vocabulary, 2), tokensOf(33, vocabulary, 5)];
    const logitsOf = async (native: NativeEngine, sequences: readonly { cache: NativeKvCache; tokens: number[] }[]): Promise<Float32Array[]> => {
      const rows = sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
      const logits = new Float32Array(rows * vocabulary);
      await native.native.step({
        sequences: sequences.map(({ cache, tokens }) => ({ cache, rows: tokens.length })),
        embeddings: native.embeddings(sequences.flatMap(({ tokens }) => tokens)),
        logitRows: Uint32Array.from({ length: rows }, (_, row) => row),
        logits,
      });
      let start = 0;
      return sequences.map(({ tokens }) => logits.slice(start * vocabulary, (start += tokens.length) * vocabulary));
    };
    const single = NativeEngine.create(createRandomModelFile(config), { threads: createThreads(1) });
    engines.push(single);
    const together = prompts.map(() => nativeCache(engine));
    const apart = prompts.map(() => nativeCache(single));
    for (const length of [1, 0.5]) {
      const parts = prompts.map((prompt) => prompt.slice(0, Math.ceil(prompt.length * length)));
      const batch = await logitsOf(engine, parts.map((tokens, index) => ({ cache: together[index]!, tokens })));
      for (const [index, tokens] of parts.entries()) {
        const [alone] = await logitsOf(single, [{ cache: apart[index]!, tokens }]);
        expect(alone!.length).toBe(tokens.length * vocabulary);
        expect(alone).toEqual(batch[index]);
      }
    }
    expect(together.map(({ length }) => length)).toEqual(prompts.map(({ length }) => length + Math.ceil(length / 2)));
    expect(width).toBeGreaterThan(0);
  });

  it("gives nearly the same states whether tokens come at once, in chunks or one by one", async () => {
    const engine = createEngine(smallConfig("llama", { contextLength: 4096 }));
    const tokens = tokensOf(700, engine.config.vocabulary);
    const whole = await engine.forward(tokens, nativeCache(engine));
    for (const size of [1, 64, 257]) {
      const cache = nativeCache(engine);
      const parts: number[] = [];
      for (let start = 0; start < tokens.length; start += size) parts.push(...(await engine.forward(tokens.slice(start, start + size), cache)));
      expect(maximumDifference(parts, whole)).toBeLessThan(5e-3);
    }
  });

  it("runs caches of any codec through tiles, also under the protocol without a tail", async () => {
    const config = smallConfig("llama", { contextLength: 4096 });
    const engine = createEngine(config);
    const plan = { key: float32Codec(), value: float32Codec(), keyFrame: "pre-rope" as const };
    const cache = tileCache(engine, { layers: [plan, plan], quantizeOpenPage: true });
    const tokens = tokensOf(900, config.vocabulary);
    const expected = await engine.forward(tokens, nativeCache(engine));
    // Keys are rounded to fp16 before their rotation here and after it there.
    expect(maximumDifference(await engine.forward(tokens, cache), expected)).toBeLessThan(2e-2);
  });

  it("leaves the cache as it was when cancelled or given a token that does not exist", async () => {
    const config = smallConfig("llama", { contextLength: 8192 });
    const engine = createEngine(config);
    const tokens = tokensOf(1300, config.vocabulary);
    for (const cache of [nativeCache(engine), tileCache(engine)]) {
      await engine.forward(tokens.slice(0, 70), cache);
      const controller = new AbortController();
      const running = engine.forward(tokens.slice(70), cache, { signal: controller.signal, onLayer: () => controller.abort() });
      await expect(running).rejects.toMatchObject({ code: "CANCELLED" });
      expect(cache.length).toBe(70);
      await expect(engine.forward([1, config.vocabulary], cache)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
      await expect(engine.forward([], cache)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
      expect(cache.length).toBe(70);
      const hidden = await engine.forward(tokens.slice(70, 75), cache);
      expect(hidden.every(Number.isFinite)).toBe(true);
    }
  });

  it("takes caches that attend by themselves in one step, bit for bit as alone, and starts the attentions of a layer together", async () => {
    const config = smallConfig("qwen2", { contextLength: 4096 });
    const engine = createEngine(config);
    const prompts = [tokensOf(30, config.vocabulary, 1), tokensOf(1, config.vocabulary, 2), tokensOf(90, config.vocabulary, 5)];
    const together = prompts.map(() => tileCache(engine));
    const started: number[] = [];
    const ended: number[] = [];
    for (const cache of together) {
      for (let layer = 0; layer < config.layers; layer++) {
        const store = cache.layer(layer);
        const attend = store.attend.bind(store);
        store.attend = async (q, out) => {
          started.push(ended.length);
          await attend(q, out);
          ended.push(layer);
        };
      }
    }
    const logits = await engine.step(prompts.map((tokens, index) => ({ cache: together[index]!, tokens, logits: index !== 1 })));
    // Three start before one ends, in both layers.
    expect(started).toEqual([0, 0, 0, 3, 3, 3]);
    const expected: number[] = [];
    for (const [index, tokens] of prompts.entries()) {
      const hidden = await engine.forward(tokens, tileCache(engine));
      if (index !== 1) expected.push(...(await engine.logits(hidden.subarray(hidden.length - config.width), 1)));
    }
    expect([...logits]).toEqual(expected);
    expect(together.map(({ length }) => length)).toEqual([30, 1, 90]);
    expect(await engine.step([{ cache: together[0]!, tokens: [1], logits: false }])).toEqual(new Float32Array(0));
    expect([engine.batches(nativeCache(engine)), engine.batches(tileCache(engine))]).toEqual([true, false]);
  });

  it("leaves all caches of a step as they were when one of them fails, a moment after the others have ended", async () => {
    const config = smallConfig("llama");
    const engine = createEngine(config);
    const caches = [1, 2, 3].map(() => tileCache(engine));
    for (const [index, cache] of caches.entries()) await engine.forward(tokensOf(5 + index, config.vocabulary), cache);
    const step = (signal?: AbortSignal): Promise<Float32Array> => engine.step(caches.map((cache) => ({ cache, tokens: [7, 8], logits: true })), { signal });
    const store = caches[0]!.layer(1);
    const attend = store.attend.bind(store);
    store.attend = () => Promise.reject(new Error("out of memory"));
    await expect(step()).rejects.toThrow("out of memory");
    expect(caches.map(({ length }) => length)).toEqual([5, 6, 7]);
    await expect(step(AbortSignal.abort())).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(engine.step([caches[1]!, caches[1]!].map((cache) => ({ cache, tokens: [1], logits: true })))).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/one cache twice/) });
    // One that is gone does not keep the others from what they held.
    store.attend = async (q, out) => {
      await attend(q, out);
      caches[0]!.dispose();
      throw new Error("gone");
    };
    await expect(step()).rejects.toMatchObject({ code: "DISPOSED" });
    expect(caches.slice(1).map(({ length }) => length)).toEqual([6, 7]);
  });

  it("refuses a step of caches that do not fit, twice the same cache, and a disposed model", async () => {
    const config = smallConfig("llama");
    const engine = createEngine(config);
    const other = createEngine(smallConfig("llama", { layers: 3 }));
    const cache = nativeCache(engine);
    const embeddings = engine.embeddings([1, 2]);
    await expect(engine.native.step({ sequences: [{ cache: nativeCache(other), rows: 2 }], embeddings })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(engine.native.step({ sequences: [{ cache, rows: 1 }, { cache, rows: 1 }], embeddings })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(engine.native.step({ sequences: [{ cache, rows: 3 }], embeddings })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await engine.native.step({ sequences: [{ cache, rows: 2 }], embeddings });
    expect(cache.length).toBe(2);
    await other.dispose();
    await expect(other.forward([1], nativeCache(engine))).rejects.toMatchObject({ code: "DISPOSED" });
  });
});
