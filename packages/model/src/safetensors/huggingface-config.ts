/** The configuration of a model from a Hugging Face config.json. */

import { ropeConfigFromHuggingFace } from "@kvquant/rope";
import { KvquantError } from "@kvquant/spec";
import { checkModelConfig } from "../config/model-config.js";
import type { Architecture, ModelConfig } from "../config/model-config.js";
import { readRope } from "../config/read-rope.js";

const ARCHITECTURE_CLASSES: Readonly<Record<string, Architecture>> = {
  LlamaForCausalLM: "llama",
  MistralForCausalLM: "llama",
  Qwen2ForCausalLM: "qwen2",
  Qwen3ForCausalLM: "qwen3",
};

/**
 * Reads sizes, rotary embedding and switches.
 * @param raw parsed config.json
 * @param details `path` for messages, `hasHead` whether the folder has an lm_head.weight, `name` for people
 * @throws UNSUPPORTED for another architecture, activation, weight quantization or rope scaling
 * @throws CORRUPT_DATA for missing or senseless values
 */
export function configFromHuggingFace(raw: unknown, details: { path: string; name: string; hasHead: boolean }): ModelConfig {
  const { path } = details;
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) throw new KvquantError("CORRUPT_DATA", `${path}: expected a JSON object, got ${JSON.stringify(raw)?.slice(0, 60)}`);
  const fields = raw as Record<string, unknown>;
  const architecture = architectureOf(fields, path);
  refuse(fields, path);
  const integer = (key: string): number | undefined => {
    const value = fields[key] ?? undefined;
    if (value !== undefined && !Number.isSafeInteger(value)) throw new KvquantError("CORRUPT_DATA", `${path}: expected an integer for ${key}, got ${JSON.stringify(value)}`);
    return value as number | undefined;
  };
  const required = (key: string): number => {
    const value = integer(key);
    if (value === undefined) throw new KvquantError("CORRUPT_DATA", `${path}: expected ${key}, got none`);
    return value;
  };
  const width = required("hidden_size");
  const queryHeads = required("num_attention_heads");
  const headDim = integer("head_dim") ?? Math.floor(width / queryHeads);
  const maximum = required("max_position_embeddings");
  const window = fields["use_sliding_window"] === false ? undefined : integer("sliding_window");
  const config: ModelConfig = {
    architecture,
    name: details.name,
    layers: required("num_hidden_layers"),
    width,
    queryHeads,
    kvHeads: integer("num_key_value_heads") ?? queryHeads,
    headDim,
    feedForward: required("intermediate_size"),
    vocabulary: required("vocab_size"),
    // Attention is over the whole context here, which is the same as long as the window is not left.
    contextLength: window === undefined ? maximum : Math.min(maximum, window),
    normEpsilon: typeof fields["rms_norm_eps"] === "number" ? fields["rms_norm_eps"] : 1e-6,
    rope: readRope(path, () => ropeConfigFromHuggingFace(fields)),
    tiedEmbeddings: typeof fields["tie_word_embeddings"] === "boolean" ? fields["tie_word_embeddings"] : !details.hasHead,
    attentionBias: architecture === "qwen2" || fields["attention_bias"] === true,
    queryKeyNorm: architecture === "qwen3",
  };
  checkModelConfig(config, path);
  return config;
}

function architectureOf(fields: Record<string, unknown>, path: string): Architecture {
  const listed = fields["architectures"];
  const name: unknown = Array.isArray(listed) ? listed[0] : undefined;
  const known = typeof name === "string" && Object.hasOwn(ARCHITECTURE_CLASSES, name) ? ARCHITECTURE_CLASSES[name] : undefined;
  if (known) return known;
  throw new KvquantError("UNSUPPORTED", `${path}: architecture ${JSON.stringify(name)} has no forward pass, expected one of ${Object.keys(ARCHITECTURE_CLASSES).join(", ")}`);
}

function refuse(fields: Record<string, unknown>, path: string): void {
  const activation = fields["hidden_act"] ?? "silu";
  if (activation !== "silu") throw new KvquantError("UNSUPPORTED", `${path}: expected hidden_act silu, got ${JSON.stringify(activation)}`);
  if (fields["quantization_config"]) throw new KvquantError("UNSUPPORTED", `${path}: expected weights that are not quantized (or a GGUF file), got a quantization_config`);
  if (fields["mlp_bias"] === true) throw new KvquantError("UNSUPPORTED", `${path}: expected a feed-forward without biases, got mlp_bias true`);
}
