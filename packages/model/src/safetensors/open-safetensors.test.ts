import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { KvquantError } from "@kvquant/spec";
import { expect, onTestFinished, test } from "vitest";
import type { ModelFile } from "../files/model-file.js";
import { openModelFile } from "../files/open-model-file.js";
import { temporaryFolder } from "../files/fixtures/temporary-folder.js";
import { smallModel } from "../gguf/fixtures/small-model.js";
import { writeSafetensors } from "./fixtures/write-safetensors.js";
import type { SafetensorsEntry } from "./fixtures/write-safetensors.js";

const STORIES = fileURLToPath(new URL("../../fixtures/stories260k", import.meta.url));

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 10,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 20000,
};

const NAMES: readonly [RegExp, string][] = [
  [/^token_embd/, "model.embed_tokens"],
  [/^output_norm/, "model.norm"],
  [/^output\b/, "lm_head"],
  [/^blk\.(\d+)\.attn_norm/, "model.layers.$1.input_layernorm"],
  [/^blk\.(\d+)\.ffn_norm/, "model.layers.$1.post_attention_layernorm"],
  [/^blk\.(\d+)\.attn_([qk])_norm/, "model.layers.$1.self_attn.$2_norm"],
  [/^blk\.(\d+)\.attn_([qkv])\./, "model.layers.$1.self_attn.$2_proj."],
  [/^blk\.(\d+)\.attn_output/, "model.layers.$1.self_attn.o_proj"],
  [/^blk\.(\d+)\.ffn_(gate|up|down)/, "model.layers.$1.mlp.$2_proj"],
];

/** The tensors of the small model under their Hugging Face names. */
function smallTensors(...parameters: Parameters<typeof smallModel>): Record<string, SafetensorsEntry> {
  const entries = Object.entries(smallModel(...parameters).tensors).map(([name, entry]) => {
    const [pattern, replacement] = NAMES.find(([candidate]) => candidate.test(name))!;
    return [name.replace(pattern, replacement), { dtype: "F32", shape: [...entry.shape].reverse(), data: entry.data }] as const;
  });
  return Object.fromEntries(entries);
}

function folderOf(files: Record<string, Uint8Array | object>): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content instanceof Uint8Array ? content : JSON.stringify(content));
  return folder;
}

async function open(files: Record<string, Uint8Array | object>): Promise<ModelFile> {
  const file = await openModelFile(folderOf(files));
  onTestFinished(() => file.close());
  return file;
}

test("stories260K opens with its configuration, weights and tied head", async () => {
  const file = await openModelFile(join(STORIES, "config.json"));
  onTestFinished(() => file.close());
  expect(file.config).toMatchObject({ architecture: "llama", layers: 5, width: 64, queryHeads: 8, kvHeads: 4, headDim: 8, feedForward: 172, vocabulary: 512, contextLength: 512, normEpsilon: 1e-5, tiedEmbeddings: true });
  const { length } = file.tensor("layers.4.down");
  expect(length).toBe(64 * 172);
  expect(Buffer.from(file.tensor("output").buffer).equals(Buffer.from(file.tensor("embedding").buffer))).toBe(true);
  expect(file.tokenizerSource.kind).toBe("huggingface");
});

test.each([
  ["LlamaForCausalLM", "llama"],
  ["MistralForCausalLM", "llama"],
  ["Qwen2ForCausalLM", "qwen2"],
  ["Qwen3ForCausalLM", "qwen3"],
] as const)("%s is read in the order of its file", async (name, architecture) => {
  const tensors = smallTensors(architecture);
  const file = await open({ "config.json": { ...CONFIG, architectures: [name] }, "model.safetensors": writeSafetensors(tensors) });
  expect(file.config).toMatchObject({ architecture, headDim: 8, attentionBias: architecture === "qwen2", queryKeyNorm: architecture === "qwen3", tiedEmbeddings: false });
  expect(file.tensor("layers.1.query")).toEqual(tensors["model.layers.1.self_attn.q_proj.weight"]!.data);
  expect(file.tensor("layers.0.attention_output")).toEqual(tensors["model.layers.0.self_attn.o_proj.weight"]!.data);
  expect(file.tensor("output")).toEqual(tensors["lm_head.weight"]!.data);
  if (architecture === "qwen2") expect(file.tensor("layers.1.value_bias")).toEqual(tensors["model.layers.1.self_attn.v_proj.bias"]!.data);
  if (architecture === "qwen3") expect(file.tensor("layers.1.query_norm")).toEqual(tensors["model.layers.1.self_attn.q_norm.weight"]!.data);
});

test("head_dim of the configuration wins over width / heads", async () => {
  const tensors = smallTensors("qwen3");
  for (const layer of [0, 1]) {
    for (const [part, rows] of [["q_proj", 64], ["k_proj", 32], ["v_proj", 32]] as const) tensors[`model.layers.${layer}.self_attn.${part}.weight`] = { dtype: "F32", shape: [rows, 32], data: new Float32Array(rows * 32) };
    tensors[`model.layers.${layer}.self_attn.o_proj.weight`] = { dtype: "F32", shape: [32, 64], data: new Float32Array(2048) };
    for (const part of ["q_norm", "k_norm"]) tensors[`model.layers.${layer}.self_attn.${part}.weight`] = { dtype: "F32", shape: [16], data: new Float32Array(16) };
  }
  const file = await open({ "config.json": { ...CONFIG, architectures: ["Qwen3ForCausalLM"], head_dim: 16 }, "model.safetensors": writeSafetensors(tensors) });
  expect(file.config).toMatchObject({ headDim: 16, rope: { headDim: 16, rotaryDim: 16 } });
});

test("F16 and BF16 tensors are widened exactly", async () => {
  const tensors = smallTensors();
  // 1, -2, 0.5, 65504 and 1, -2, 0.5, 3.38953139e38 in the two formats.
  tensors["model.norm.weight"] = { dtype: "F16", shape: [32], data: new Uint8Array(Uint16Array.from({ length: 32 }, (_, index) => [0x3c00, 0xc000, 0x3800, 0x7bff][index % 4]!).buffer) };
  tensors["model.layers.0.input_layernorm.weight"] = { dtype: "BF16", shape: [32], data: new Uint8Array(Uint16Array.from({ length: 32 }, (_, index) => [0x3f80, 0xc000, 0x3f00, 0x7f7f][index % 4]!).buffer) };
  const file = await open({ "config.json": CONFIG, "model.safetensors": writeSafetensors(tensors) });
  expect([...file.tensor("output_norm").subarray(0, 4)]).toEqual([1, -2, 0.5, 65504]);
  expect([...file.tensor("layers.0.attention_norm").subarray(0, 4)]).toEqual([1, -2, 0.5, 3.3895313892515355e38]);
});

test("shards give the model and the fingerprint that one file gives", async () => {
  const tensors = smallTensors();
  const names = Object.keys(tensors);
  const first = Object.fromEntries(names.slice(0, 9).map((name) => [name, tensors[name]!]));
  const second = Object.fromEntries(names.slice(9).map((name) => [name, tensors[name]!]));
  const map = Object.fromEntries(names.map((name, index) => [name, index < 9 ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors"]));
  const sharded = await open({ "config.json": CONFIG, "model.safetensors.index.json": { weight_map: map }, "model-00001-of-00002.safetensors": writeSafetensors(first), "model-00002-of-00002.safetensors": writeSafetensors(second) });
  const single = await open({ "config.json": CONFIG, "model.safetensors": writeSafetensors(tensors) });
  expect(sharded.fingerprint).toBe(single.fingerprint);
  expect(sharded.tensor("layers.1.down")).toEqual(single.tensor("layers.1.down"));
  await expect(open({ "config.json": CONFIG, "model.safetensors.index.json": { weight_map: { a: "../evil.safetensors" } } })).rejects.toMatchObject({ code: "CORRUPT_DATA" });
  await expect(open({ "config.json": CONFIG, "model.safetensors.index.json": { weight_map: { a: "gone.safetensors" } } })).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringContaining("gone") as string });
});

test("rope rules, a sliding window and a tied head are taken from the configuration", async () => {
  const tied = smallTensors("llama", { tied: true });
  const config = async (more: object) => (await open({ "config.json": { ...CONFIG, ...more }, "model.safetensors": writeSafetensors(tied) })).config;
  expect(await config({ tie_word_embeddings: true, sliding_window: 64 })).toMatchObject({ tiedEmbeddings: true, contextLength: 64 });
  expect(await config({ sliding_window: 64, use_sliding_window: false })).toMatchObject({ tiedEmbeddings: true, contextLength: 128 });
  const llama3 = { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 };
  expect((await config({ rope_scaling: llama3 })).rope.scaling).toEqual({ type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 64 });
  expect((await config({ rope_scaling: { type: "yarn", factor: 4, beta_fast: 16 } })).rope.scaling).toEqual({ type: "yarn", factor: 4, originalMaxPositionEmbeddings: 128, betaFast: 16 });
  expect((await config({ rope_scaling: { type: "dynamic", factor: 2 } })).rope.scaling).toEqual({ type: "dynamic", factor: 2, maxPositionEmbeddings: 128 });
  expect((await config({ rope_theta: undefined, rope_parameters: { rope_type: "default", rope_theta: 5e5, partial_rotary_factor: 0.5 } })).rope).toEqual({ headDim: 8, rotaryDim: 4, base: 5e5, scaling: { type: "none" } });
  await expect(config({ rope_scaling: { type: "spiral", factor: 2 } })).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("spiral") as string });
  await expect(config({ rope_scaling: { type: "linear" } })).rejects.toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining("factor") as string });
});

test("configurations without a forward pass are refused by name", async () => {
  const weights = writeSafetensors(smallTensors());
  const refused = (more: object) => expect(open({ "config.json": { ...CONFIG, ...more }, "model.safetensors": weights })).rejects;
  await refused({ architectures: ["MixtralForCausalLM"] }).toMatchObject({ code: "UNSUPPORTED", message: expect.stringMatching(/Mixtral.*LlamaForCausalLM/) as string });
  await refused({ architectures: ["toString"] }).toMatchObject({ code: "UNSUPPORTED" });
  await refused({ hidden_act: "gelu" }).toMatchObject({ code: "UNSUPPORTED" });
  await refused({ mlp_bias: true }).toMatchObject({ code: "UNSUPPORTED" });
  await refused({ quantization_config: { quant_method: "gptq" } }).toMatchObject({ code: "UNSUPPORTED" });
  await refused({ hidden_size: undefined }).toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining("hidden_size") as string });
  await refused({ num_hidden_layers: 1.5 }).toMatchObject({ code: "CORRUPT_DATA" });
  await refused({ num_key_value_heads: 3 }).toMatchObject({ code: "CORRUPT_DATA" });
  await refused({ num_hidden_layers: 3 }).toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining("model.layers.2.") as string });
  await refused({ num_hidden_layers: 1 }).toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("model.layers.1.") as string });
});

test("damaged files are refused, saying what was expected", async () => {
  const tensors = smallTensors();
  const refused = (weights: Uint8Array) => expect(open({ "config.json": CONFIG, "model.safetensors": weights })).rejects;
  const whole = writeSafetensors(tensors);
  const norm = tensors["model.norm.weight"]!;
  const changed = (change: Partial<SafetensorsEntry>) => writeSafetensors({ ...tensors, "model.norm.weight": { ...norm, ...change } });
  await refused(new Uint8Array(4)).toMatchObject({ code: "CORRUPT_DATA" });
  await refused(whole.subarray(0, whole.length - 1)).toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining("truncated") as string });
  await refused(Uint8Array.from([...whole, 0])).toMatchObject({ code: "CORRUPT_DATA" });
  await refused(writeSafetensors(tensors, 2n ** 63n)).toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining("header") as string });
  await refused(writeSafetensors(tensors, 99_000_000n)).toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining("header") as string });
  await refused(writeSafetensors(tensors, 20n)).toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining("JSON") as string });
  await refused(changed({ offsets: [0, 128] })).toMatchObject({ code: "CORRUPT_DATA", message: expect.stringMatching(/overlap|holes/) as string });
  await refused(changed({ offsets: [-128, 0] })).toMatchObject({ code: "CORRUPT_DATA" });
  await refused(changed({ offsets: [2 ** 40, 2 ** 40 + 128] })).toMatchObject({ code: "CORRUPT_DATA" });
  await refused(changed({ shape: [33] })).toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining("132 bytes") as string });
  await refused(changed({ shape: [2 ** 30, 2 ** 30] })).toMatchObject({ code: "CORRUPT_DATA" });
  await refused(changed({ dtype: "F8_E4M3", shape: [128] })).toMatchObject({ code: "UNSUPPORTED", message: expect.stringMatching(/F8_E4M3.*F32, F16, BF16/) as string });
  await expect(open({ "config.json": new TextEncoder().encode("{"), "model.safetensors": whole })).rejects.toMatchObject({ code: "CORRUPT_DATA" });
  await expect(open({ "config.json": [1], "model.safetensors": whole })).rejects.toMatchObject({ code: "CORRUPT_DATA" });
});

test("a flipped byte in a header never gives anything but a KvquantError or a model", async () => {
  const folder = temporaryFolder();
  cpSync(STORIES, folder, { recursive: true });
  const path = join(folder, "model.safetensors");
  const whole = readFileSync(path);
  const headerLength = Number(whole.readBigUInt64LE(0));
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: headerLength + 7 }), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
      const bytes = Uint8Array.from(whole);
      bytes[at]! ^= mask;
      writeFileSync(path, bytes);
      try {
        (await openModelFile(folder)).close();
      } catch (error) {
        expect(KvquantError.isInstance(error), String(error)).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
  rmSync(path);
  await expect(openModelFile(folder)).rejects.toMatchObject({ code: "IO_ERROR", message: expect.stringContaining("model.safetensors") as string });
});
