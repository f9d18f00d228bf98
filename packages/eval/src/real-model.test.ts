// The whole path on a trained model of 260,000 weights: calibrate, fit, evaluate, decode.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadModel } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import { artifactTableBytes } from "@kvquant/quant";
import type { KvqArtifact } from "@kvquant/quant";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { calibrateModel } from "./calibrate-model.js";
import type { Calibration } from "./calibrate-model.js";
import { evaluateCaches } from "./evaluate-caches.js";
import { makeArtifact } from "./make-artifact.js";
import { klDivergence } from "./metrics/index.js";
import { story } from "./test-support/story.js";

const context = 160;
const modelPath = fileURLToPath(new URL("../../model/fixtures/stories260k", import.meta.url));
let model: LanguageModel;
let tokens: Int32Array;
let folder: string;
let calibration: Calibration;
let artifact: KvqArtifact;

beforeAll(async () => {
  model = await loadModel(modelPath, { engine: "reference" });
  tokens = model.tokenizer.encode(story, { addSpecial: false });
  folder = await mkdtemp(join(tmpdir(), "kvquant-real-"));
  // The story's end calibrates, its beginning is evaluated.
  calibration = await calibrateModel(model, { tokens: tokens.slice(context), sequences: 1, length: 300, sinkTokens: 1, sensitivity: "fisher", folder });
  artifact = makeArtifact(model, "nuq3-1%", calibration);
});
afterAll(async () => {
  await model.dispose();
  await rm(folder, { recursive: true });
});

/** Log-probabilities of every position `[context * vocabulary]`, the window passed in pieces of `chunk` tokens. */
async function distributions(window: Int32Array, options: { artifact: KvqArtifact | "fp16"; tailTokens?: number }, chunk: number): Promise<Float32Array> {
  const { vocabulary } = model.config;
  const cache = model.createCache(options);
  const all = new Float32Array(window.length * vocabulary);
  try {
    for (let start = 0; start < window.length; start += chunk) {
      const part = window.subarray(start, start + chunk);
      const hidden = await model.forward(part, cache);
      all.set(await model.logProbabilities(hidden, part.length), start * vocabulary);
    }
  } finally {
    cache.dispose();
  }
  return all;
}

const firstWindow = (): Int32Array => Int32Array.of(model.tokenizer.bos!, ...tokens.slice(0, context - 1));
const meanDivergence = (p: Float32Array, q: Float32Array): number => {
  let sum = 0;
  for (let position = 0; position < context - 1; position++) sum += klDivergence(p, q, position * model.config.vocabulary, model.config.vocabulary);
  return sum / (context - 1);
};

describe("evaluation of a trained model", () => {
  it("counts the artifact's tables in the bytes of a cache, once for all its forks", async () => {
    const tables = artifactTableBytes(artifact);
    expect(tables).toBeGreaterThan(1000);
    await using native = await loadModel(modelPath, { attention: "tiles" });
    for (const owner of [model, native]) {
      using cache = owner.createCache({ artifact });
      expect(cache.bytes().tables).toBe(tables);
      using fork = cache.fork();
      expect(fork.bytes(cache).tables).toBe(0);
    }
  });

  it("equals step-by-step decoding through the cache", async () => {
    const window = firstWindow();
    const exact = await distributions(window, { artifact: "fp16" }, context);
    const { rows } = await evaluateCaches(model, { caches: [{ name: "nuq3-1%", artifact }], tokens, context, windows: 1, tails: [1, 16] });
    for (const row of rows) {
      const stepped = meanDivergence(exact, await distributions(window, { artifact, tailTokens: row.tail }, 1));
      expect(stepped).toBeGreaterThan(1e-3);
      // Both runs round a few values differently (see below); a difference of 5e-7 between them moves a divergence of 1e-2 by about 1%.
      expect(Math.abs(row.kldMean / stepped - 1)).toBeLessThan(0.03);
    }
  });

  it("gives the same distributions in chunks of any size", async () => {
    const window = firstWindow();
    const whole = await distributions(window, { artifact, tailTokens: 16 }, context);
    // Products of other shapes differ in their last bits, which moves a few roundings: 5e-7. A rule off by one position is far more.
    for (const chunk of [1, 64, 77]) expect(meanDivergence(whole, await distributions(window, { artifact, tailTokens: 16 }, chunk))).toBeLessThan(3e-6);
    expect(meanDivergence(whole, await distributions(window, { artifact, tailTokens: 17 }, context))).toBeGreaterThan(3e-5);
  });

  it("orders caches by bits and by tail, and leaves fp16 unharmed", async () => {
    const caches = [{ name: "fp16", artifact: "fp16" as const }, ...["nuq4-1%", "nuq3-1%", "nuq2-1%"].map((name) => ({ name, artifact: makeArtifact(model, name, calibration) }))];
    const { rows } = await evaluateCaches(model, { caches, tokens, context, windows: 2, tails: [0, 64] });
    const of = (name: string, tail: number) => rows.find((row) => row.cache === name && row.tail === tail)!;
    for (const tail of [0, 64]) {
      expect(of("fp16", tail)).toMatchObject({ kldMean: 0, top1: 1, deltaPerplexity: 0, bitsPerValue: 16 });
      expect(of("nuq4-1%", tail).kldMean).toBeLessThan(of("nuq3-1%", tail).kldMean);
      expect(of("nuq3-1%", tail).kldMean).toBeLessThan(of("nuq2-1%", tail).kldMean);
    }
    for (const name of ["nuq4-1%", "nuq3-1%", "nuq2-1%"]) {
      expect(of(name, 64).kldMean).toBeLessThan(of(name, 0).kldMean);
      expect(of(name, 64).cacheBytesPerToken).toBeLessThan(of("fp16", 64).cacheBytesPerToken);
    }
    expect(of("nuq3-1%", 0).bitsPerValue).toBeGreaterThan(3);
    expect(of("nuq3-1%", 0).bitsPerValue).toBeLessThan(of("nuq4-1%", 0).bitsPerValue! - 0.9);
    // A story model on a story: far better than chance over 512 tokens.
    expect(of("fp16", 0).perplexity).toBeLessThan(20);
    expect(of("fp16", 0).tokensScored).toBe(2 * (context - 1));
  });

  it("calibrates once for the same model, text and settings", async () => {
    const again = await calibrateModel(model, { tokens: tokens.slice(context), sequences: 1, length: 300, sinkTokens: 1, sensitivity: "fisher", folder });
    expect(again.fromCache).toBe(true);
    expect(makeArtifact(model, "nuq3-1%", again)).toEqual(artifact);
  });

  it("reads the compressed bytes: a flipped byte in a page changes what is decoded", async () => {
    const window = firstWindow();
    // Without outliers, whose indices would be refused as CORRUPT_DATA.
    const cache = model.createCache({ artifact: makeArtifact(model, "nuq3", calibration), tailTokens: 16 });
    await model.forward(window.subarray(0, context - 1), cache);
    const decodeLast = async (): Promise<Float32Array> => {
      const fork = cache.fork();
      const hidden = await model.forward(window.subarray(context - 1), fork);
      fork.dispose();
      return (await model.logProbabilities(hidden, 1)).slice();
    };
    const good = await decodeLast();
    expect(await decodeLast()).toEqual(good);
    for (const side of ["key", "value"] as const) {
      let changed = 0;
      for (let index = 5; index < 600; index += 60) {
        const { bytes } = cache.layer(2).pages()[0]![side];
        bytes[index]! ^= 0x55;
        const bad = await decodeLast();
        bytes[index]! ^= 0x55;
        if (bad.some((value, token) => value !== good[token])) changed++;
      }
      // Not all ten: a token that the query hardly looks at may be lost in float32. A cache that is not read would give none.
      expect(changed).toBeGreaterThanOrEqual(4);
    }
    expect(await decodeLast()).toEqual(good);
    cache.dispose();
  });

  it("refuses an artifact of another model or another number of sinks", async () => {
    const foreign = { ...artifact, model: { ...artifact.model, fingerprint: "another" } };
    await expect(evaluateCaches(model, { caches: [{ name: "foreign", artifact: foreign }], tokens, context })).rejects.toMatchObject({ code: "MODEL_MISMATCH" });
    expect(() => model.createCache({ artifact, sinkTokens: 4 })).toThrow(expect.objectContaining({ code: "MODEL_MISMATCH" }));
  });

  it("refuses a window beyond the model's context", async () => {
    const long = Int32Array.from({ length: 600 }, (_, index) => tokens[index % tokens.length]!);
    await expect(evaluateCaches(model, { caches: [{ name: "nuq3-1%", artifact }], tokens: long, context: 600 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
