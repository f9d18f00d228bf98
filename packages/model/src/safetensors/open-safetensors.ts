/** Opens a Hugging Face folder as a model. */

import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { KvquantError } from "@kvquant/spec";
import { layerPart } from "../config/tensor-name.js";
import type { LayerPart, TensorName } from "../config/tensor-name.js";
import { openByteSource } from "../files/byte-source.js";
import type { ByteSource } from "../files/byte-source.js";
import { matchTensors } from "../files/match-tensors.js";
import { createModelFile } from "../files/model-file.js";
import type { ModelFile } from "../files/model-file.js";
import type { StoredTensor } from "../files/stored-tensor.js";
import type { TokenizerSource } from "../tokenizer/tokenizer-source.js";
import { configFromHuggingFace } from "./huggingface-config.js";
import { readJson, readText } from "./read-json.js";
import { readSafetensors } from "./read-safetensors.js";
import { shardNames } from "./shard-names.js";

const PARTS: Readonly<Record<LayerPart, string>> = {
  attention_norm: "input_layernorm.weight",
  query: "self_attn.q_proj.weight",
  key: "self_attn.k_proj.weight",
  value: "self_attn.v_proj.weight",
  attention_output: "self_attn.o_proj.weight",
  ffn_norm: "post_attention_layernorm.weight",
  gate: "mlp.gate_proj.weight",
  up: "mlp.up_proj.weight",
  down: "mlp.down_proj.weight",
  query_bias: "self_attn.q_proj.bias",
  key_bias: "self_attn.k_proj.bias",
  value_bias: "self_attn.v_proj.bias",
  query_norm: "self_attn.q_norm.weight",
  key_norm: "self_attn.k_norm.weight",
};

/**
 * Opens and checks a folder with config.json and model.safetensors (or model.safetensors.index.json and its shards).
 * @throws IO_ERROR, CORRUPT_DATA, UNSUPPORTED
 */
export async function openSafetensors(folder: string): Promise<ModelFile> {
  const rawConfig = await readJson(join(folder, "config.json"), true);
  const sources: ByteSource[] = [];
  try {
    const stored = new Map<string, StoredTensor>();
    for (const name of await weightFiles(folder)) {
      const source = openByteSource(join(folder, name));
      sources.push(source);
      for (const [own, tensor] of readSafetensors(source)) {
        if (stored.has(own)) throw new KvquantError("CORRUPT_DATA", `${folder}: expected each tensor once, got ${own} in two shards`);
        stored.set(own, tensor);
      }
    }
    const config = configFromHuggingFace(rawConfig, { path: join(folder, "config.json"), name: basename(folder), hasHead: stored.has("lm_head.weight") });
    const tensors = matchTensors(config, {
      where: folder,
      stored,
      nameOf: huggingFaceName,
      orderOf: () => undefined,
      ignores: (name) => name.endsWith("rotary_emb.inv_freq") || (config.tiedEmbeddings && name === "lm_head.weight"),
    });
    return createModelFile({ path: folder, config, tensors, tokenizerSource: await tokenizerSourceOf(folder, rawConfig), sources });
  } catch (error) {
    for (const source of sources) source.close();
    throw error;
  }
}

async function weightFiles(folder: string): Promise<readonly string[]> {
  if (existsSync(join(folder, "model.safetensors"))) return ["model.safetensors"];
  const path = join(folder, "model.safetensors.index.json");
  const index = await readJson(path, false);
  if (index !== undefined) return shardNames(index, path);
  throw new KvquantError("IO_ERROR", `${folder}: expected model.safetensors or model.safetensors.index.json, got neither; is it a model's folder?`);
}

function huggingFaceName(name: TensorName): string {
  if (name === "embedding") return "model.embed_tokens.weight";
  if (name === "output_norm") return "model.norm.weight";
  if (name === "output") return "lm_head.weight";
  const { layer, part } = layerPart(name)!;
  return `model.layers.${layer}.${PARTS[part]}`;
}

async function tokenizerSourceOf(folder: string, config: unknown): Promise<TokenizerSource> {
  const tokenizer = await readJson(join(folder, "tokenizer.json"), false);
  if (tokenizer === undefined) return { kind: "none", reason: `${folder} has no tokenizer.json` };
  return {
    kind: "huggingface",
    tokenizer,
    tokenizerConfig: await readJson(join(folder, "tokenizer_config.json"), false),
    config,
    generationConfig: await readJson(join(folder, "generation_config.json"), false),
    chatTemplate: await readText(join(folder, "chat_template.jinja"), false),
  };
}
