// One layer of a KV cache in fp16 and at 3 bits: the same keys and values in, the same queries, what comes out and what it takes.
import { createKvCache } from "@kvquant/cache";
import { createStatisticsCollector, fitArtifact, openArtifact, parsePreset } from "@kvquant/quant";
import { createRope } from "@kvquant/rope";

const shape = { layers: 1, queryHeads: 4, kvHeads: 2, headDim: 64 };
const ropeConfig = /** @type {const} */ ({ headDim: 64, rotaryDim: 64, base: 10_000, scaling: { type: "none" } });
/** @param {number} rows @param {number} heads @param {number} seed */
const make = (rows, heads, seed) => ({ data: Float32Array.from({ length: rows * heads * 64 }, (_, index) => Math.sin((index + seed) ** 2)), rows, cols: heads * 64 });

// Fitted to other data of the same kind; a model's own keys, values and gradients in earnest (calibrate.mjs).
const collector = createStatisticsCollector({ shape, rope: ropeConfig, sinkTokens: 1, sensitivity: "fisher" });
collector.add(0, { k: make(1024, 2, 1), v: make(1024, 2, 2), keyGradients: make(1024, 2, 3), valueGradients: make(1024, 2, 4) });
const artifact = fitArtifact(parsePreset("kvq3"), collector.finish(), {
  model: { fingerprint: "example", name: "example", architecture: "llama" },
  calibration: { textFingerprint: "example", sequences: 1, length: 1024, tokens: 1024, sensitivity: "fisher", method: "example", methodVersion: 1 },
});

const tokens = 1024;
const caches = { fp16: createKvCache({ shape, rope: createRope(ropeConfig), layers: "fp16" }), kvq3: createKvCache({ shape, rope: createRope(ropeConfig), layers: openArtifact(artifact) }) };
/** @type {Record<string, Float32Array>} */
const answers = {};
for (const [name, cache] of Object.entries(caches)) {
  cache.layer(0).append(make(tokens, 2, 10), make(tokens, 2, 11)); // [tokens, kvHeads * headDim], keys before RoPE
  const out = make(1, 4, 0);
  await cache.layer(0).attend(make(1, 4, 12), out); // the query of the newest token, before RoPE
  answers[name] = out.data;
  console.log(`${name}: ${cache.bytes().perToken.toFixed(0)} bytes a token, closed pages ${(cache.bitsPerValue()?.mean ?? 16).toFixed(2)} bits a value`);
}
const { fp16 = new Float32Array(), kvq3 = new Float32Array() } = answers;
const largest = fp16.reduce((most, value, index) => Math.max(most, Math.abs(value - (kvq3[index] ?? 0))), 0);
console.log(`largest difference of the outputs: ${largest.toFixed(4)}, of numbers up to ${fp16.reduce((most, value) => Math.max(most, Math.abs(value)), 0).toFixed(4)}`);
