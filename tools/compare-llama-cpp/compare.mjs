// Compares this project's reference engine with llama.cpp; see README.md.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel, resolveModel } from "../../packages/model/dist/index.js";
import { openPeer } from "./peer.mjs";
import { writeRandomQwen2 } from "./random-qwen2.mjs";

const PROMPTS = [
  "The capital of France is Paris, and the capital of Italy is",
  "Once upon a time, in a village by the sea, there lived a fisherman who",
  "To sort a list of numbers in place, walk through it from the left and",
];

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { data: { type: "string" }, windows: { type: "string", default: "2" }, context: { type: "string", default: "2048" }, "random-qwen2": { type: "boolean" } },
});

const folder = mkdtempSync(join(tmpdir(), "kvquant-compare-"));
try {
  if (flags["random-qwen2"]) {
    const path = join(folder, "random-qwen2.gguf");
    writeRandomQwen2(path);
    const sequences = [0, 1, 2].map((seed) => Array.from({ length: 40 }, (_, index) => (index * 37 + seed * 101 + 3) % 256));
    await compareDistributions(path, () => sequences);
  } else {
    const { path } = await resolveModel(positionals[0] ?? "smollm2");
    await compareDistributions(path, (model) => PROMPTS.map((prompt) => [...model.tokenizer.encode(prompt)]));
    if (flags.data !== undefined) await comparePerplexity(path, flags.data, Number(flags.context), Number(flags.windows));
  }
} finally {
  rmSync(folder, { recursive: true });
}

async function compareDistributions(path, makeSequences) {
  const model = await loadModel(path);
  const peer = await openPeer(path, 512);
  const { vocabulary } = model.config;
  let total = 0;
  let positions = 0;
  let agreed = 0;
  let worst = 0;
  for (const tokens of makeSequences(model)) {
    const cache = model.createCache({ artifact: "fp16" });
    const ours = await model.logProbabilities(await model.forward(tokens, cache), tokens.length);
    const theirs = await peer.distributions(tokens, vocabulary);
    for (let row = 0; row < tokens.length; row++) {
      const own = ours.subarray(row * vocabulary, (row + 1) * vocabulary);
      let divergence = 0;
      let best = 0;
      let peerBest = 0;
      for (let token = 0; token < vocabulary; token++) {
        divergence += Math.exp(own[token]) * (own[token] - theirs[row][token]);
        if (own[token] > own[best]) best = token;
        if (theirs[row][token] > theirs[row][peerBest]) peerBest = token;
      }
      total += divergence;
      worst = Math.max(worst, divergence);
      positions++;
      if (best === peerBest) agreed++;
    }
    cache.dispose();
  }
  console.log(`distributions: ${positions} positions, mean KL divergence ${(total / positions).toFixed(6)} (largest ${worst.toFixed(5)}), same first choice ${agreed}/${positions}`);
  await peer.dispose();
  await model.dispose();
}

async function comparePerplexity(path, data, context, windows) {
  const model = await loadModel(path);
  const peer = await openPeer(path, context);
  const tokens = [...model.tokenizer.encode(readFileSync(data, "utf8"))];
  const { width, vocabulary } = model.config;
  let ours = 0;
  let theirs = 0;
  for (let window = 0; window < windows; window++) {
    const part = tokens.slice(window * context, (window + 1) * context);
    theirs += (await peer.meanLoss(part)) / windows;
    const cache = model.createCache({ artifact: "fp16" });
    const hidden = await model.forward(part, cache);
    for (let start = 0; start + 1 < context; start += 128) {
      const rows = Math.min(128, context - start);
      const logProbabilities = await model.logProbabilities(hidden.subarray(start * width), rows);
      for (let row = 0; row < rows && start + row + 1 < context; row++) {
        ours -= logProbabilities[row * vocabulary + part[start + row + 1]] / ((context - 1) * windows);
      }
    }
    cache.dispose();
  }
  const ratio = Math.exp(theirs - ours) - 1;
  console.log(`perplexity, ${windows} windows of ${context}: this project ${Math.exp(ours).toFixed(4)}, llama.cpp f16 ${Math.exp(theirs).toFixed(4)} (${(100 * ratio).toFixed(2)}%)`);
  await peer.dispose();
  await model.dispose();
}
