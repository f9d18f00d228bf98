// How many sequences of a length run at once in a budget of cache memory, for several caches: prompts that share nothing are submitted until more wait than run.
//   node tools/measure-capacity.mjs [model] [--caches fp16,nuq4-1%,kvq3,kvq2] [--tokens 4096] [--memory-mib 256] [--text file]
// Counts sequences that have all their tokens but the last few at the same moment, as the engine says, with what the caches really take.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { findReadyArtifact } from "../packages/artifacts/dist/index.js";
import { createServingEngine } from "../packages/engine/dist/index.js";
import { defaultText, loadModel } from "../packages/model/dist/index.js";

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { caches: { type: "string", default: "fp16,nuq4-1%,kvq3,kvq2" }, tokens: { type: "string", default: "4096" }, "memory-mib": { type: "string", default: "256" }, text: { type: "string" } },
});
const tokens = Number(flags.tokens);
const cacheBytes = Number(flags["memory-mib"]) * 2 ** 20;
/** New tokens of each request: enough that no sequence ends before the last one that fits has been read. */
const generated = 256;

await using model = await loadModel(positionals[0] ?? "smollm2");
const text = model.tokenizer.encode(readFileSync(flags.text ?? /** @type {string} */ (defaultText(model.name)), "utf8"), { addSpecial: false });

for (const name of flags.caches.split(",")) {
  const artifact = name === "fp16" ? "fp16" : await findReadyArtifact({ fingerprint: model.fingerprint, cache: name });
  if (artifact === undefined) throw new Error(`${name}: no ready artifact of ${model.name}`);
  await using engine = createServingEngine({ model, artifact, cacheBytes, prefixReuse: false, maxSequences: 128 });
  const controller = new AbortController();
  let most = { sequences: 0, cacheBytes: 0, preemptions: 0 };
  /** @type {Map<number, number>} tokens that each request holds */
  const held = new Map();
  const requests = Array.from({ length: 64 }, async (_, index) => {
    // Every prompt starts somewhere else in the text, so that none shares a page with another.
    const prompt = Int32Array.from({ length: tokens - generated }, (_, place) => /** @type {number} */ (text[(index * 997 + place) % text.length]));
    try {
      for await (const part of engine.submit({ prompt, maxTokens: generated, stopAtEnd: false, signal: controller.signal })) {
        if (part.type === "token") held.set(index, prompt.length + part.index);
        if (part.type === "finish") return controller.abort();
        const stats = engine.stats();
        if (held.size > most.sequences && held.size <= stats.running) most = { sequences: held.size, cacheBytes: stats.cacheBytes, preemptions: stats.preemptions };
      }
    } catch (error) {
      if (!controller.signal.aborted) throw error;
    }
  });
  await Promise.all(requests);
  const lengths = [...held.values()];
  console.log(`${name.padEnd(9)} ${String(most.sequences).padStart(3)} sequences of ${Math.min(...lengths)} to ${Math.max(...lengths)} tokens at once in ${(cacheBytes / 2 ** 20).toFixed(0)} MiB, taking ${(most.cacheBytes / 2 ** 20).toFixed(1)} MiB; ${most.preemptions} preemptions`);
}
