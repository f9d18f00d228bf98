import { float32Codec, maximumDifference } from "@kvquant/cache/testing";
import { KvquantError } from "@kvquant/spec";
import { afterAll, describe, expect, it } from "vitest";
import type { ModelConfig } from "../config/model-config.js";
import { architectures, tileCache, tokensOf } from "./fixtures/engine-cases.js";
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

describe("the reference engine", () => {
  it.each(architectures)("agrees with float64 loops for %s", async (_, config) => {
    const { file, engine } = await createEngine(config);
    const tokens = tokensOf(21, config.vocabulary);
    const cache = tileCache(engine);
    const hidden = await engine.forward(tokens, cache);
    const logits = await engine.logits(hidden, tokens.length);
    const expected = runTransformer(file, tokens).logits;
    const worst = maximumDifference(logits, expected.flatMap((row) => [...row]));
    // The cache rounds keys and values to fp16 (relative 2^-11); logits here are of the order of 5.
    expect(worst).toBeLessThan(2e-2);
    expect(worst).toBeGreaterThan(0);
  });

  it("gives the same states whether tokens come at once, in chunks or one by one", async () => {
    const { engine } = await createEngine(smallConfig("llama"));
    const tokens = tokensOf(70, engine.config.vocabulary);
    const whole = await engine.forward(tokens, tileCache(engine));
    for (const size of [1, 13, 64]) {
      const cache = tileCache(engine);
      const parts: number[] = [];
      for (let start = 0; start < tokens.length; start += size) parts.push(...(await engine.forward(tokens.slice(start, start + size), cache)));
      // Products of another shape sum in another order, which can flip the last bit of a stored fp16 key or value.
      expect(maximumDifference(parts, whole)).toBeLessThan(2e-3);
    }
  });

  it("runs a prompt longer than one pass, also under the protocol without a tail", async () => {
    const config = smallConfig("llama", { layers: 1, contextLength: 4096 });
    const { engine } = await createEngine(config);
    const plan = { key: float32Codec(), value: float32Codec(), keyFrame: "pre-rope" as const };
    const cache = tileCache(engine, { layers: [plan], quantizeOpenPage: true });
    const tokens = tokensOf(2100, config.vocabulary);
    const expected = await engine.forward(tokens, tileCache(engine));
    expect(maximumDifference(await engine.forward(tokens, cache), expected)).toBeLessThan(2e-3);
  });

  it("turns hidden states into log-probabilities that sum to one", async () => {
    const { engine } = await createEngine(smallConfig("llama"));
    const hidden = await engine.forward([1, 2, 3], tileCache(engine));
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
    const cache = tileCache(engine);
    await engine.forward([1, 2], cache);
    for (const tokens of [[], [50], [-1], [1.5]]) {
      const error = await engine.forward(tokens, cache).then(() => undefined, (reason: unknown) => reason);
      expect(KvquantError.isInstance(error) && error.code).toBe("INVALID_ARGUMENT");
    }
    expect(cache.length).toBe(2);
  });

  it("stops between layers when the signal fires, leaving the cache as it was", async () => {
    const { engine } = await createEngine(smallConfig("llama"));
    const cache = tileCache(engine);
    await engine.forward([1, 2], cache);
    const abort = new AbortController();
    const run = engine.forward([3, 4], cache, { signal: abort.signal, onLayer: () => abort.abort() });
    await expect(run).rejects.toMatchObject({ code: "CANCELLED" });
    expect(cache.length).toBe(2);
    await engine.forward([3, 4], cache);
    expect(cache.length).toBe(4);
  });
});
