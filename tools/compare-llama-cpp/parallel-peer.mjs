// llama.cpp (through node-llama-cpp) under the load of the server's benchmark: parallel clients, a shared prefix, a question each, greedy. Prints one JSON document.
//   node tools/compare-llama-cpp/parallel-peer.mjs smollm2 --text book.txt --clients 8 --prefix 2000 --question 100 --tokens 128 --threads 2 --cache f16
// Sequences of its contexts share nothing. `cold`: every sequence starts empty. `warm`: every sequence already holds the prefix, the most that its API offers to reuse.
import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { resolveModel } from "../../packages/model/dist/index.js";

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    text: { type: "string" },
    clients: { type: "string", default: "8" },
    prefix: { type: "string", default: "2000" },
    question: { type: "string", default: "100" },
    tokens: { type: "string", default: "128" },
    threads: { type: "string", default: "2" },
    cache: { type: "string", default: "f16" },
  },
});
if (flags.text === undefined) throw new Error("--text: expected a text file to cut prefix and questions from, got none");
const [clients, prefix, question, tokens, threads] = [flags.clients, flags.prefix, flags.question, flags.tokens, flags.threads].map(Number);

const { path } = await resolveModel(positionals[0] ?? "smollm2");
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 0 });
const model = await llama.loadModel({ modelPath: path });
const type = flags.cache.toUpperCase();
const context = await model.createContext({ sequences: clients, contextSize: prefix + question + tokens + 8, batchSize: 512, threads, flashAttention: true, experimentalKvCacheKeyType: type, experimentalKvCacheValueType: type });
const words = model.tokenize(readFileSync(flags.text, "utf8").slice(0, 20 * (prefix + clients * question)));
if (words.length < prefix + clients * question) throw new Error(`--text: expected at least ${prefix + clients * question} tokens, got ${words.length}`);
const shared = words.slice(0, prefix);
const sequences = Array.from({ length: clients }, () => context.getSequence());
const questions = sequences.map((_, client) => words.slice(prefix + client * question, prefix + (client + 1) * question));

/** All clients at once. @param {boolean} warm */
async function measure(warm) {
  for (const sequence of sequences) {
    await sequence.clearHistory();
    if (warm) await sequence.evaluateWithoutGeneratingNewTokens(shared);
  }
  const started = performance.now();
  const firsts = await Promise.all(
    sequences.map(async (sequence, client) => {
      let first = 0;
      let count = 0;
      const generation = sequence.evaluate(warm ? questions[client] : [...shared, ...questions[client]], { temperature: 0, yieldEogToken: true });
      while (count < tokens && !(await generation.next()).done) {
        if (count++ === 0) first = (performance.now() - started) / 1000;
      }
      await generation.return();
      if (count !== tokens) throw new Error(`expected ${tokens} tokens for client ${client}, got ${count}`);
      return first;
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  firsts.sort((a, b) => a - b);
  return { seconds, tokensPerSecond: (clients * tokens) / seconds, firstTokenMedian: firsts[Math.floor(clients / 2)], firstTokenMost: firsts.at(-1) };
}

console.log(JSON.stringify({ engine: "llama.cpp", cache: flags.cache, clients, prefix, question, tokens, threads, cold: await measure(false), warm: await measure(true) }, undefined, 2));
await context.dispose();
await model.dispose();
await llama.dispose();
