import { createKvCache } from "@kvquant/cache";
import { float32Codec } from "@kvquant/cache/testing";
import { createRope } from "@kvquant/rope";
import { KvquantError } from "@kvquant/spec";
import { afterAll, describe, expect, it } from "vitest";
import type { ModelConfig } from "../config/model-config.js";
import { runTransformer } from "./fixtures/float64-transformer.js";
import { createRandomModelFile, smallConfig } from "./fixtures/random-model-file.js";
import { ReferenceEngine } from "./reference-engine.js";

const engines: ReferenceEngine[] = [];
afterAll(async () => {
  await Promise.all(engines.map((engine) => engine.dispose()));
});

async function createEngine(config: ModelConfig) {
  const file = createRandomModelFile(config);
  const engine = await ReferenceEngine.create(file, { threads: 1 });
  engines.push(engine);
  return { file, engine };
}

function createExactCache(engine: ReferenceEngine) {
  const { layers, queryHeads, kvHeads, headDim, rope } = engine.config;
  return createKvCache({ shape: { layers, queryHeads, kvHeads, headDim }, rope: createRope(rope), layers: "fp16", kernel: engine.kernel });
}

const tokensOf = (length: number, vocabulary: number) => Array.from({ length }, (_, index) => (index * 7 + 3) % vocabulary);

describe("the reference engine", () => {
  const yarn = { headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "yarn", factor: 4, originalMaxPositionEmbeddings: 64 } } as const;
  const cases: [string, ModelConfig][] = [
    ["llama", smallConfig("llama")],
    ["qwen2 with biases", smallConfig("qwen2")],
    ["qwen3 with head norms", smallConfig("qwen3")],
    ["llama with YaRN", smallConfig("llama", { rope: yarn })],
  ];
  it.each(cases)("agrees with float64 loops for %s", async (_, config) => {
    const { file, engine } = await createEngine(config);
    const tokens = tokensOf(21, config.vocabulary);
    const cache = createExactCache(engine);
    const hidden = await engine.forward(tokens, cache);
    const logits = await engine.logits(hidden, tokens.length);
    const expected = runTransformer(file, tokens).logits;
    let worst = 0;
    for (let row = 0; row < tokens.length; row++) {
      for (let column = 0; column < config.vocabulary; column++) {
        worst = Math.max(worst, Math.abs(logits[row * config.vocabulary + column]! - expected[row]![column]!));
      }
    }
    // The cache rounds keys and values to fp16 (relative 2^-11); logits here are of the order of 5.
    expect(worst).toBeLessThan(2e-2);
    expect(worst).toBeGreaterThan(0);
  });

  it("gives the same states whether tokens come at once, in chunks or one by one", async () => {
    const { engine } = await createEngine(smallConfig("llama"));
    const tokens = tokensOf(70, engine.config.vocabulary);
    const whole = await engine.forward(tokens, createExactCache(engine));
    for (const size of [1, 13, 64]) {
      const cache = createExactCache(engine);
      const parts: number[] = [];
      for (let start = 0; start < tokens.length; start += size) parts.push(...(await engine.forward(tokens.slice(start, start + size), cache)));
      const worst = parts.reduce((most, value, index) => Math.max(most, Math.abs(value - whole[index]!)), 0);
      // Products of another shape sum in another order, which can flip the last bit of a stored fp16 key or value.
      expect(worst).toBeLessThan(2e-3);
    }
  });

  it("runs a prompt longer than one pass, also under the protocol without a tail", async () => {
    const config = smallConfig("llama", { layers: 1, contextLength: 4096 });
    const { engine } = await createEngine(config);
    const { layers, queryHeads, kvHeads, headDim, rope } = config;
    const plan = { key: float32Codec(), value: float32Codec(), keyFrame: "pre-rope" as const };
    const cache = createKvCache({ shape: { layers, queryHeads, kvHeads, headDim }, rope: createRope(rope), layers: [plan], kernel: engine.kernel, quantizeOpenPage: true });
    const tokens = tokensOf(2100, config.vocabulary);
    const expected = await engine.forward(tokens, createExactCache(engine));
    const hidden = await engine.forward(tokens, cache);
    const worst = hidden.reduce((most, value, index) => Math.max(most, Math.abs(value - expected[index]!)), 0);
    expect(worst).toBeLessThan(2e-3);
  });

  it("turns hidden states into log-probabilities that sum to one", async () => {
    const { engine } = await createEngine(smallConfig("llama"));
    const hidden = await engine.forward([1, 2, 3], createExactCache(engine));
    const logits = (await engine.logits(hidden, 3)).slice();
    const logProbabilities = await engine.logProbabilities(hidden, 3);
    for (let row = 0; row < 3; row++) {
      const rowLogits = logits.subarray(row * 50, row * 50 + 50);
      const total = Math.log(rowLogits.reduce((sum, value) => sum + Math.exp(value), 0));
      for (let column = 0; column < 50; column++) expect(logProbabilities[row * 50 + column]!).toBeCloseTo(rowLogits[column]! - total, 4);
    }
  });

  it("refuses no tokens and tokens outside the vocabulary, leaving the cache as it was", async () => {
    const { engine } = await createEngine(smallConfig("llama"));
    const cache = createExactCache(engine);
    await engine.forward([1, 2], cache);
    for (const tokens of [[], [50], [-1], [1.5]]) {
      const error = await engine.forward(tokens, cache).then(() => undefined, (reason: unknown) => reason);
      expect(KvquantError.isInstance(error) && error.code).toBe("INVALID_ARGUMENT");
    }
    expect(cache.length).toBe(2);
  });

  it("stops between layers when the signal fires, leaving the cache as it was", async () => {
    const { engine } = await createEngine(smallConfig("llama"));
    const cache = createExactCache(engine);
    await engine.forward([1, 2], cache);
    const abort = new AbortController();
    const run = engine.forward([3, 4], cache, { signal: abort.signal, onLayer: () => abort.abort() });
    await expect(run).rejects.toMatchObject({ code: "CANCELLED" });
    expect(cache.length).toBe(2);
    await engine.forward([3, 4], cache);
    expect(cache.length).toBe(4);
  });
});
