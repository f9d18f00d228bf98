import { describe, expect, it } from "vitest";
import { checkContext } from "./check-context.js";
import { createRandomModelFile, smallConfig } from "./engine/fixtures/random-model-file.js";
import { ReferenceEngine } from "./engine/reference-engine.js";
import { LanguageModel } from "./language-model.js";

const dynamic = { headDim: 8, rotaryDim: 8, base: 10000, scaling: { type: "dynamic", factor: 2, maxPositionEmbeddings: 16 } } as const;

describe("checkContext", () => {
  it("says nothing up to the model's own length", () => {
    expect(checkContext(smallConfig("llama", { contextLength: 16 }), 16)).toBeUndefined();
  });

  it("refuses one token more where the angles do not adapt, with both numbers", () => {
    expect(() => checkContext(smallConfig("llama", { contextLength: 16 }), 17)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/16 tokens.*17/) as string }));
  });

  it("warns where the RoPE rule follows the length", () => {
    expect(checkContext(smallConfig("llama", { contextLength: 16, rope: dynamic }), 17)).toMatch(/17 tokens.*16.*dynamic/);
  });
});

describe("a model beyond its context", () => {
  it("runs where the RoPE rule permits, and warns once", async () => {
    const file = createRandomModelFile(smallConfig("llama", { contextLength: 16, rope: dynamic, layers: 1 }));
    const warnings: string[] = [];
    const engine = await ReferenceEngine.create(file, { threads: 1 });
    await using model = new LanguageModel({ name: "random", file, tokenizer: undefined as never, engine, onWarning: (message) => warnings.push(message) });
    using cache = model.createCache({ artifact: "fp16" });
    await model.forward([1, 2, 3], cache);
    expect(warnings).toEqual([]);
    for (const tokens of [Array.from({ length: 14 }, () => 4), [5]]) expect((await model.forward(tokens, cache)).every(Number.isFinite)).toBe(true);
    expect(warnings).toHaveLength(1);
    expect(cache.length).toBe(18);
  });
});
