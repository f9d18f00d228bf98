/** The JSON files of a Hugging Face folder, as one object: config.json, the index of shards, tokenizer.json and its neighbours. */

import { createTokenizer } from "../../../packages/model/src/model-files.js";
import { configFromHuggingFace } from "../../../packages/model/src/safetensors/huggingface-config.js";
import { shardNames } from "../../../packages/model/src/safetensors/shard-names.js";
import { obey } from "../law.js";

export const maximumLength = 8192;

const config = { architectures: ["LlamaForCausalLM"], hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, vocab_size: 10, max_position_embeddings: 128, rms_norm_eps: 1e-5, rope_theta: 20000, eos_token_id: [1, 2] };
const yarn = { rope_scaling: { type: "yarn", factor: 4, beta_fast: 16, original_max_position_embeddings: 64 } };
const llama3 = { rope_scaling: { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 } };
const longrope = { rope_scaling: { rope_type: "longrope", short_factor: [1, 1, 1, 1], long_factor: [2, 2, 2, 2] }, original_max_position_embeddings: 64 };

const added = (id: number, content: string) => ({ id, content, special: true, normalized: false, lstrip: false, rstrip: false, single_word: false });
const byteLevel = {
  model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2, "\u0120": 3, "</s>": 4 }, merges: ["a b"], unk_token: null, fuse_unk: false, byte_fallback: false },
  added_tokens: [added(4, "</s>")],
  normalizer: null,
  pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Split", pattern: { Regex: "\\p{L}+|\\s+" }, behavior: "Isolated", invert: false }, { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false }] },
  post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "</s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }], pair: [], special_tokens: { "</s>": { id: "</s>", ids: [4], tokens: ["</s>"] } } },
  decoder: { type: "ByteLevel" },
};
const sentencePiece = {
  model: { type: "BPE", vocab: { "<unk>": 0, a: 1, b: 2, ab: 3, "\u2581": 4, "<0x0A>": 5 }, merges: [["a", "b"]], unk_token: "<unk>", fuse_unk: true, byte_fallback: true },
  added_tokens: [added(0, "<unk>")],
  normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "\u2581" }, { type: "Replace", pattern: { String: " " }, content: "\u2581" }] },
  pre_tokenizer: null,
  post_processor: null,
  decoder: { type: "Sequence", decoders: [{ type: "Replace", pattern: { String: "\u2581" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }, { type: "Strip", content: " ", start: 1, stop: 0 }] },
};

export function seeds(): Uint8Array[] {
  const encode = (value: object): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
  return [
    encode({ config, index: { weight_map: { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors" } }, tokenizer: byteLevel, tokenizerConfig: { eos_token: "</s>", bos_token: { content: "</s>" }, chat_template: [{ name: "default", template: "{{ messages[0].content }}" }] } }),
    encode({ config: { ...config, ...yarn }, tokenizer: sentencePiece, generationConfig: { eos_token_id: 0 } }),
    encode({ config: { ...config, ...llama3, architectures: ["Qwen3ForCausalLM"], head_dim: 16, tie_word_embeddings: true, sliding_window: 64 } }),
    encode({ config: { ...config, ...longrope, architectures: ["Qwen2ForCausalLM"] } }),
  ];
}

export function fuzz(data: Uint8Array): void {
  let files: Record<string, unknown>;
  try {
    files = (JSON.parse(new TextDecoder().decode(data)) ?? {}) as Record<string, unknown>;
  } catch {
    return; // `readJson` refuses what is no JSON.
  }
  obey(data.length, () => void configFromHuggingFace(files["config"], { path: "config.json", name: "fuzz", hasHead: false }));
  if (files["index"] !== undefined) obey(data.length, () => void shardNames(files["index"], "index"));
  obey(data.length, () => {
    const tokenizer = createTokenizer({ kind: "huggingface", tokenizer: files["tokenizer"], tokenizerConfig: files["tokenizerConfig"], config: files["config"], generationConfig: files["generationConfig"] });
    for (const parseSpecial of [true, false]) tokenizer.decode(tokenizer.encode("ab </s>\n a\u00e9", { parseSpecial }));
  });
}
