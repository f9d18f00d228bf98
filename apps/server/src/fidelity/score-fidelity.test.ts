import { loadModel } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import type { KvqArtifact } from "@kvquant/quant";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fitTinyArtifact, tinyText } from "../fixtures/tiny-artifact.js";
import { createFidelityScorer } from "./score-fidelity.js";

let model: LanguageModel;
let artifact: KvqArtifact;
let tokens: Int32Array;
beforeAll(async () => {
  model = await loadModel("tiny", { threads: 1 });
  artifact = await fitTinyArtifact(model, "kvq2");
  tokens = model.tokenizer.encode(tinyText().slice(-4000)).slice(0, 300);
});
afterAll(() => model.dispose());

const idle = new AbortController().signal;

/** Log-probabilities `[tokens, vocabulary]` in one pass. */
async function logProbabilities(cacheArtifact: KvqArtifact | "fp16"): Promise<Float32Array> {
  using cache = model.createCache({ artifact: cacheArtifact, tailTokens: 64 });
  return (await model.logProbabilities(await model.forward(tokens, cache), tokens.length)).slice();
}

describe("createFidelityScorer", () => {
  it("gives the divergence that two whole passes give at the last positions", async () => {
    const score = await createFidelityScorer(model, { compressed: { artifact, tailTokens: 64 }, positions: 40 })(tokens, idle);
    const [exact, served] = [await logProbabilities("fp16"), await logProbabilities(artifact)];
    const { vocabulary } = model.config;
    let sum = 0;
    let top = 0;
    for (let row = tokens.length - 40; row < tokens.length; row++) {
      let divergence = 0;
      for (let index = row * vocabulary; index < (row + 1) * vocabulary; index++) divergence += Math.exp(exact[index]!) * (exact[index]! - served[index]!);
      sum += divergence;
      top = Math.max(top, divergence);
    }
    expect(score.positions).toBe(40);
    expect(score.kldSum).toBeCloseTo(sum, 4);
    expect(score.kldMax).toBeCloseTo(top, 4);
    expect(score.kldSum).toBeGreaterThan(0);
    expect(score.agreeing).toBeGreaterThan(20);
  });

  it("finds no divergence of fp16 from itself", async () => {
    const score = await createFidelityScorer(model, { compressed: { artifact: "fp16", tailTokens: 64 }, positions: 10 })(tokens, idle);
    expect(score.kldSum).toBeCloseTo(0, 5);
    expect(score).toMatchObject({ agreeing: 10, positions: 10 });
  });

  it("ends when it is told to, and leaves the model usable", async () => {
    const controller = new AbortController();
    const pending = createFidelityScorer(model, { compressed: { artifact, tailTokens: 64 }, positions: 10 })(tokens, controller.signal);
    setTimeout(() => controller.abort(), 5);
    await expect(pending).rejects.toThrowError(expect.objectContaining({ code: "CANCELLED" }));
    expect((await logProbabilities("fp16")).length).toBe(tokens.length * model.config.vocabulary);
  });
});
