// Samples plain text from a model, to calibrate and evaluate it on its own language without any other corpus.
// usage: node tools/sample-text.mjs smollm2 --bytes 60000 --out packages/model/models/smollm2
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { generate, loadModel } from "../packages/model/dist/index.js";

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bytes: { type: "string", default: "60000" },
    tokens: { type: "string", default: "512" },
    seed: { type: "string", default: "1" },
    temperature: { type: "string", default: "0.9" },
    "top-p": { type: "string", default: "0.95" },
    start: { type: "string", default: "<|endoftext|>" },
    threads: { type: "string" },
    out: { type: "string" },
  },
});
if (positionals.length !== 1 || flags.out === undefined) {
  console.error("usage: sample-text.mjs MODEL --out PATH-WITHOUT-EXTENSION [--bytes N] [--tokens N] [--seed N] [--temperature X] [--top-p X] [--start TEXT] [--threads N]");
  process.exit(2);
}

const sampling = { temperature: Number(flags.temperature), topP: Number(flags["top-p"]) };
const model = await loadModel(positionals[0] ?? "", flags.threads === undefined ? {} : { threads: Number(flags.threads) });
const prompt = model.tokenizer.encode(flags.start);
const documents = [];
let seed = Number(flags.seed);
while (Buffer.byteLength(documents.join("\n\n")) < Number(flags.bytes)) {
  const cache = model.createCache({ artifact: "fp16" });
  let text = "";
  for await (const step of generate(model, cache, prompt, { maxTokens: Number(flags.tokens), sampling, seed })) text += step.text;
  cache.dispose();
  if (text.trim().length > 0) documents.push(text.trim());
  console.error(`document ${documents.length} (seed ${seed}): ${Buffer.byteLength(documents.join("\n\n"))} of ${flags.bytes} bytes`);
  seed++;
}
const record = {
  model: model.name,
  fingerprint: model.fingerprint,
  engine: model.engine,
  cache: "fp16",
  start: flags.start,
  maxTokens: Number(flags.tokens),
  sampling,
  seeds: [Number(flags.seed), seed - 1],
  documents: documents.length,
};
writeFileSync(`${flags.out}.txt`, `${documents.join("\n\n")}\n`);
writeFileSync(`${flags.out}.json`, `${JSON.stringify(record, null, 2)}\n`);
await model.dispose();
