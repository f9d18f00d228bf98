/** The configuration of a model from GGUF metadata. */

import { ropeScalingFromGguf } from "@kvquant/rope";
import type { GgufRopeFactors } from "@kvquant/rope";
import { KvquantError } from "@kvquant/spec";
import { ARCHITECTURES, checkModelConfig } from "../config/model-config.js";
import type { Architecture, ModelConfig } from "../config/model-config.js";
import { readRope } from "../config/read-rope.js";
import { readTensor } from "../files/stored-tensor.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import type { GgufHeader } from "./read-gguf.js";

/**
 * Reads sizes, rotary embedding and switches; the vocabulary is that of the embedding.
 * @throws UNSUPPORTED for another architecture, experts or an unknown rope scaling
 * @throws CORRUPT_DATA for missing or senseless values
 */
export function configFromGguf(header: GgufHeader): ModelConfig {
  const { metadata, tensors } = header;
  const architecture = architectureOf(metadata);
  const integer = (key: string): number => metadata.required(`${architecture}.${key}`, metadata.integer(`${architecture}.${key}`));
  if ((metadata.integer(`${architecture}.expert_count`) ?? 0) > 0) throw new KvquantError("UNSUPPORTED", `${metadata.path}: expected a dense model, got a mixture of experts`);
  const width = integer("embedding_length");
  const queryHeads = sameForAllLayers(metadata, `${architecture}.attention.head_count`) ?? integer("attention.head_count");
  const kvHeads = sameForAllLayers(metadata, `${architecture}.attention.head_count_kv`) ?? queryHeads;
  const headDim = metadata.integer(`${architecture}.attention.key_length`) ?? Math.floor(width / queryHeads);
  const valueDim = metadata.integer(`${architecture}.attention.value_length`) ?? headDim;
  if (valueDim !== headDim) throw new KvquantError("UNSUPPORTED", `${metadata.path}: expected keys and values of one length, got ${headDim} and ${valueDim}`);
  const embedding = tensors.get("token_embd.weight");
  const rotaryDim = metadata.integer(`${architecture}.rope.dimension_count`) ?? headDim;
  const config: ModelConfig = {
    architecture,
    name: metadata.string("general.name") ?? metadata.path.replace(/^.*[\\/]/, "").replace(/\.gguf$/i, ""),
    layers: integer("block_count"),
    width,
    queryHeads,
    kvHeads,
    headDim,
    feedForward: sameForAllLayers(metadata, `${architecture}.feed_forward_length`) ?? integer("feed_forward_length"),
    vocabulary: metadata.required("token_embd.weight (tensor)", embedding).rows,
    contextLength: integer("context_length"),
    normEpsilon: metadata.required(`${architecture}.attention.layer_norm_rms_epsilon`, metadata.number(`${architecture}.attention.layer_norm_rms_epsilon`)),
    rope: {
      headDim,
      rotaryDim,
      base: metadata.number(`${architecture}.rope.freq_base`) ?? 10000,
      scaling: readRope(metadata.path, () => ropeScalingFromGguf(Object.fromEntries(metadata.entries), architecture, ropeFactors(tensors))),
    },
    tiedEmbeddings: !tensors.has("output.weight"),
    attentionBias: tensors.has("blk.0.attn_q.bias"),
    queryKeyNorm: tensors.has("blk.0.attn_q_norm.weight"),
  };
  checkModelConfig(config, metadata.path);
  return config;
}

function architectureOf(metadata: GgufMetadata): Architecture {
  const name = metadata.required("general.architecture", metadata.string("general.architecture"));
  const known = ARCHITECTURES.find((architecture) => architecture === name);
  if (!known) throw new KvquantError("UNSUPPORTED", `${metadata.path}: architecture ${JSON.stringify(name)} has no forward pass, expected one of ${ARCHITECTURES.join(", ")} (mistral is llama)`);
  return known;
}

/** Some files list a count for each layer; only equal counts have a forward pass. */
function sameForAllLayers(metadata: GgufMetadata, key: string): number | undefined {
  const value = metadata.entries.get(key);
  if (!Array.isArray(value)) return metadata.integer(key);
  const first: unknown = value[0];
  if (typeof first === "number" && value.every((count) => count === first)) return first;
  throw new KvquantError("UNSUPPORTED", `${metadata.path}: expected the same ${key} in all layers, got ${value.slice(0, 8).join(", ")}`);
}

function ropeFactors(tensors: GgufHeader["tensors"]): GgufRopeFactors | undefined {
  const read = (name: string): Float32Array | undefined => {
    const tensor = tensors.get(name);
    return tensor && readTensor(tensor);
  };
  const [short, long] = [read("rope_factors_short.weight"), read("rope_factors_long.weight")];
  return short !== undefined && long !== undefined ? { short, long } : read("rope_freqs.weight");
}
