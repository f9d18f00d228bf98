/** Opens a GGUF file as a model. */

import { layerPart } from "../config/tensor-name.js";
import type { LayerPart, TensorName } from "../config/tensor-name.js";
import { openByteSource } from "../files/byte-source.js";
import { matchTensors } from "../files/match-tensors.js";
import { createModelFile } from "../files/model-file.js";
import type { ModelFile } from "../files/model-file.js";
import type { TokenizerSource } from "../tokenizer/tokenizer-source.js";
import { configFromGguf } from "./gguf-config.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import { readGguf } from "./read-gguf.js";
import { halfSplitRows } from "./row-order.js";

const PARTS: Readonly<Record<LayerPart, string>> = {
  attention_norm: "attn_norm.weight",
  query: "attn_q.weight",
  key: "attn_k.weight",
  value: "attn_v.weight",
  attention_output: "attn_output.weight",
  ffn_norm: "ffn_norm.weight",
  gate: "ffn_gate.weight",
  up: "ffn_up.weight",
  down: "ffn_down.weight",
  query_bias: "attn_q.bias",
  key_bias: "attn_k.bias",
  value_bias: "attn_v.bias",
  query_norm: "attn_q_norm.weight",
  key_norm: "attn_k_norm.weight",
};

/**
 * Opens and checks a GGUF file.
 * @throws IO_ERROR, CORRUPT_DATA, UNSUPPORTED
 */
export async function openGguf(path: string): Promise<ModelFile> {
  const source = openByteSource(path);
  try {
    const header = await readGguf(source);
    const config = configFromGguf(header);
    const permuted = config.architecture === "llama";
    const queries = permuted ? halfSplitRows(config.queryHeads, config.rope) : undefined;
    const keys = permuted ? halfSplitRows(config.kvHeads, config.rope) : undefined;
    const tensors = matchTensors(config, {
      where: path,
      stored: header.tensors,
      nameOf: ggufName,
      orderOf(name) {
        const part = layerPart(name)?.part;
        if (part === "query" || part === "query_bias") return queries;
        return part === "key" || part === "key_bias" ? keys : undefined;
      },
      ignores: (name) => /^rope_(freqs|factors_short|factors_long)\.weight$/.test(name) || name.endsWith("attn_rot_embd"),
    });
    return createModelFile({ path, config, tensors, tokenizerSource: tokenizerSourceOf(header.metadata), sources: [source] });
  } catch (error) {
    source.close();
    throw error;
  }
}

function ggufName(name: TensorName): string {
  if (name === "embedding") return "token_embd.weight";
  if (name === "output_norm") return "output_norm.weight";
  if (name === "output") return "output.weight";
  const { layer, part } = layerPart(name)!;
  return `blk.${layer}.${PARTS[part]}`;
}

function tokenizerSourceOf(metadata: GgufMetadata): TokenizerSource {
  const own = [...metadata.entries].filter(([key]) => key.startsWith("tokenizer."));
  if (!own.some(([key]) => key === "tokenizer.ggml.tokens")) return { kind: "none", reason: `${metadata.path} has no tokenizer.ggml.tokens` };
  return { kind: "gguf", metadata: new Map(own) };
}
