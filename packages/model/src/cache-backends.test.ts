import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { backendInfo } from "@kvquant/cpu";
import { generate } from "./generate/generate.js";
import type { LanguageModel } from "./language-model.js";
import { loadModel } from "./load-model.js";

describe("backends of a model's caches", () => {
  const warnings: string[] = [];
  let model: LanguageModel;
  const driver = process.env.KVQUANT_CUDA_DRIVER;
  beforeAll(async () => {
    // A machine without a driver, whatever this one has.
    process.env.KVQUANT_CUDA_DRIVER = "libcuda-of-nobody.so.1";
    model = await loadModel("tiny", { threads: 1, onWarning: (message) => warnings.push(message) });
  });
  afterAll(async () => {
    await model.dispose();
    if (driver === undefined) delete process.env.KVQUANT_CUDA_DRIVER;
    else process.env.KVQUANT_CUDA_DRIVER = driver;
  });

  it("are tried in order: the first that can be had is used and said, and why those before it are not is told once", async () => {
    for (let repeat = 0; repeat < 2; repeat++) {
      using cache = model.createCache({ artifact: "fp16", backends: ["cuda", "reference"] });
      expect(cache.backends()).toEqual(["typescript"]);
    }
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^the cuda backend is not used: .*expected a CUDA driver, got none|^the cuda backend is not used: @kvquant\/cuda: expected an addon/);
  });

  it("are an error when none of those asked for can be had: nothing takes their place unasked", () => {
    expect(() => model.createCache({ artifact: "fp16", backends: ["cuda"] })).toThrow(expect.objectContaining({ code: "NATIVE_UNAVAILABLE", message: expect.stringMatching(/^backends: expected one of cuda, got none; cuda: /) }));
    expect(() => model.createCache({ artifact: "fp16", backends: [] })).toThrow(expect.objectContaining({ code: "NATIVE_UNAVAILABLE", message: expect.stringMatching(/a list that is not empty/) }));
  });

  it("say what cuda lacks beside a GPU", () => {
    const skipped: string[] = [];
    const onSkippedBackend = (_: string, reason: string): void => void skipped.push(reason);
    for (const options of [{ attention: "tiles" }, { quantizeOpenPage: true }, { precision: "exact" }] as const) {
      model.createCache({ artifact: "fp16", backends: ["cuda", "reference"], onSkippedBackend, ...options }).dispose();
    }
    expect(skipped).toEqual([
      "it attends to compressed pages only, tiles or quantizeOpenPage were asked for",
      "it attends to compressed pages only, tiles or quantizeOpenPage were asked for",
      "it has no exact precision",
    ]);
  });

  it.each([NaN, Infinity])("refuse a tail of %s after a cache with the default tail was made", (tailTokens) => {
    model.createCache({ artifact: "fp16" }).dispose();
    expect(() => model.createCache({ artifact: "fp16", tailTokens })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining(String(tailTokens)) }));
  });

  it.skipIf(!backendInfo().available)("generate on the CPU where there is no GPU, and say so", async () => {
    using cache = model.createCache({ artifact: "fp16", backends: ["cuda", "cpu"] });
    expect(cache.backends()).toEqual([model.engine]);
    using plain = model.createCache({ artifact: "fp16" });
    const tokens: number[][] = [];
    for (const each of [cache, plain]) {
      const answer: number[] = [];
      for await (const { token } of generate(model, each, model.tokenizer.encode("The"), { maxTokens: 5 })) answer.push(token);
      tokens.push(answer);
    }
    expect(tokens[0]).toHaveLength(5);
    expect(tokens[0]).toEqual(tokens[1]);
  });
});
