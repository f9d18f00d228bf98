import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { backendInfo } from "@kvquant/cpu";
import { generate } from "./generate/generate.js";
import type { LanguageModel } from "./language-model.js";
import { loadModel } from "./load-model.js";
import type { LoadModelOptions } from "./load-model.js";

/** Engines in fp32. The native cache rounds keys to fp16 after their rotation, which no longer errs alike for all tokens where keys have a large constant part (5e-3 in the same cache in float64). */
const engines: readonly { readonly name: string; readonly options: LoadModelOptions; readonly fp16Bound: number; readonly missing: boolean }[] = [
  { name: "reference", options: { engine: "reference", threads: 2 }, fp16Bound: 2e-3, missing: false },
  { name: "native with fp32 activations", options: { engine: "native", exactProducts: "all", threads: 2 }, fp16Bound: 1.5e-2, missing: !backendInfo().available },
];

const readGolden = (path: string): unknown => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));

/** Hidden states, logits and mean next-token loss of a whole text through an exact cache. */
async function score(model: LanguageModel, tokens: readonly number[]) {
  using cache = model.createCache({ artifact: "fp16" });
  const { vocabulary } = model.config;
  const hidden = await model.forward(tokens, cache);
  const logProbabilities = await model.logProbabilities(hidden, tokens.length);
  let loss = 0;
  const losses: number[] = [];
  for (let row = 0; row + 1 < tokens.length; row++) {
    losses.push(-logProbabilities[row * vocabulary + tokens[row + 1]!]!);
    loss += losses[row]! / (tokens.length - 1);
  }
  return { lastLogits: (await model.logits(hidden, tokens.length)).slice((tokens.length - 1) * vocabulary), loss, losses };
}

async function generateIds(model: LanguageModel, prompt: readonly number[], count: number): Promise<number[]> {
  using cache = model.createCache({ artifact: "fp16" });
  const ids: number[] = [];
  for await (const { token } of generate(model, cache, prompt, { maxTokens: count, stopAtEnd: false })) ids.push(token);
  return ids;
}

describe.each(engines)("tiny, against float64 NumPy (tools/train-tiny/golden.py), $name", ({ options, missing }) => {
  interface Golden {
    readonly texts: readonly { readonly text: string; readonly ids: readonly number[]; readonly last_logits: readonly number[]; readonly mean_nll_nats: number }[];
    readonly greedy: { readonly prompt: string; readonly prompt_ids: readonly number[]; readonly continuation_ids: readonly number[]; readonly continuation: string };
  }
  const golden = readGolden("../models/tiny-golden.json") as Golden;
  let model: LanguageModel;
  beforeAll(async () => {
    if (!missing) model = await loadModel("tiny", options);
  });
  afterAll(() => (missing ? undefined : model.dispose()));

  it.skipIf(missing).each(golden.texts.map((text) => [text.text.slice(0, 30), text] as const))("gives the logits and loss of %j", async (_, text) => {
    expect([...model.tokenizer.encode(text.text)]).toEqual(text.ids);
    const { lastLogits, loss } = await score(model, text.ids);
    // fp16 keys and values: relative 2^-11 of numbers around 10.
    text.last_logits.forEach((logit, token) => expect(Math.abs(lastLogits[token]! - logit)).toBeLessThan(2e-2));
    expect(loss).toBeCloseTo(text.mean_nll_nats, 3);
  });

  it.skipIf(missing)("continues a prompt with the same tokens and text", async () => {
    const { prompt_ids, continuation_ids, continuation } = golden.greedy;
    expect(await generateIds(model, prompt_ids, continuation_ids.length)).toEqual(continuation_ids);
    expect(model.tokenizer.decode(continuation_ids)).toBe(continuation);
  });

  it.skipIf(missing)("refuses a context longer than its own, saying how long that is", async () => {
    using cache = model.createCache({ artifact: "fp16" });
    await expect(async () => model.forward(new Int32Array(2049), cache)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining("2048") as string });
  });
});

describe.each(engines)("stories260K, against float64 NumPy (fixtures/stories260k), $name", ({ options, fp16Bound, missing }) => {
  interface Golden {
    readonly greedy_from_bos: readonly number[];
    readonly nll: readonly { readonly ids: readonly number[]; readonly mean_nll: number }[];
    /** After the last token of the first text. */
    readonly last_logits_top10: readonly (readonly [number, number])[];
  }
  const golden = readGolden("../fixtures/stories260k/golden.json") as Golden;
  let model: LanguageModel;
  beforeAll(async () => {
    if (!missing) model = await loadModel(fileURLToPath(new URL("../fixtures/stories260k", import.meta.url)), options);
  });
  afterAll(() => (missing ? undefined : model.dispose()));

  it.skipIf(missing)("writes the reference story token by token", async () => {
    const [first, ...rest] = golden.greedy_from_bos;
    expect(await generateIds(model, [first!], rest.length)).toEqual(rest);
  });

  it.skipIf(missing)("gives the reference losses through an fp16 cache", async () => {
    for (const { ids, mean_nll } of golden.nll) expect((await score(model, ids)).loss).toBeCloseTo(mean_nll, 3);
  });

  it.skipIf(missing)("gives the reference logits within 1e-3 in fp32, and within a few thousandths through an fp16 cache", async () => {
    const { ids } = golden.nll[0]!;
    const { width, vocabulary } = model.config;
    const hidden = await model.captureAttention(ids, { onLayer: () => undefined });
    const logits = (await model.logits(hidden.subarray(hidden.length - width), 1)).slice(0, vocabulary);
    const { lastLogits } = await score(model, ids);
    for (const [token, logit] of golden.last_logits_top10) {
      expect(Math.abs(logits[token]! - logit)).toBeLessThan(1e-3);
      expect(Math.abs(lastLogits[token]! - logit)).toBeLessThan(fp16Bound);
    }
    const { loss } = await model.gradients(ids, { onLayer: () => undefined });
    expect(Math.abs(loss / (ids.length - 1) - golden.nll[0]!.mean_nll)).toBeLessThan(1e-5);
  });
});
