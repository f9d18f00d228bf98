// Writes what llama.cpp makes of each text as golden ids.
//   node llama_cpp_ids.mjs FOLDER OUT.json [name=path.gguf ...]     (FOLDER from make_tokenizer_cases.py; run where node-llama-cpp 3.22.1 is installed)
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { getLlama, LlamaLogLevel } = await import(pathToFileURL(createRequire(join(process.cwd(), "x.js")).resolve("node-llama-cpp")).href);
const [folder, out, ...extra] = process.argv.slice(2);
const llama = await getLlama({ build: "never", gpu: false, logLevel: LlamaLogLevel.error });
const read = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
const texts = read("texts.json");
const ids = {};
const files = extra.length > 0 ? extra.map((entry) => entry.split("=")) : ["smollm", "gpt-2", "llama-bpe", "qwen2", "default", "sentencepiece"].map((name) => [name, join(folder, `${name}.gguf`)]);
for (const [name, path] of files) {
  const model = await llama.loadModel({ modelPath: path, vocabOnly: true });
  ids[name] = texts.map((text) => [...model.tokenize(text, true)].map(Number));
  await model.dispose();
}
const data = extra.length > 0 ? { texts, ids } : { source: "llama.cpp through node-llama-cpp 3.22.1; see golden/make_tokenizer_cases.py", bpe: read("bpe.json"), sentencepiece: read("sentencepiece.json"), texts, ids };
writeFileSync(out, `${JSON.stringify(data)}\n`);
