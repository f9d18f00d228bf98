// From a model to a fitted cache: calibrate on its own text, write a .kvq artifact, measure what it costs, generate with it.
import { readFileSync, writeFileSync } from "node:fs";
import { calibrateModel, evaluateCaches, makeArtifact } from "@kvquant/eval";
import { defaultText, generate, loadModel } from "@kvquant/model";
import { encodeArtifact } from "@kvquant/quant";

const model = await loadModel("tiny"); // ships with the package; "smollm2" and paths of GGUF files work as well
const text = model.tokenizer.encode(readFileSync(defaultText("tiny") ?? "", "utf8"), { addSpecial: false });
const calibration = await calibrateModel(model, { tokens: text.subarray(0, 2048), sequences: 4, length: 512, sinkTokens: 1, sensitivity: "fisher" });
const artifact = makeArtifact(model, "kvq3", calibration);
const file = process.argv[2];
if (file !== undefined) writeFileSync(file, encodeArtifact(artifact));

const report = await evaluateCaches(model, { caches: [{ name: "fp16", artifact: "fp16" }, { name: "kvq3", artifact }], tokens: text.subarray(2048), context: 512, windows: 4, tails: [64] });
for (const row of report.rows) console.log(`${row.cache}: ${(row.bitsPerValue ?? 16).toFixed(2)} bits a value, perplexity ${row.perplexity.toFixed(2)}, KL divergence ${(row.kldMean ?? 0).toFixed(4)}`);

const cache = model.createCache({ artifact });
let story = "";
for await (const step of generate(model, cache, model.tokenizer.encode("One day"), { maxTokens: 40 })) story += step.text;
console.log(`One day${story}`);
cache.dispose();
await model.dispose();
