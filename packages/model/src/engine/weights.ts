/** A model's weights as tensors ready to be graph inputs: fp32, fused where one product serves several. */

import type { ModelConfig } from "../config/model-config.js";
import type { ModelFile } from "../files/model-file.js";
import { floatTensor } from "./session.js";
import type { FloatTensor } from "./session.js";

/** Weight inputs of a layer's projection and feed-forward graphs, by input name. */
export interface LayerWeights {
  readonly projection: Readonly<Record<string, FloatTensor>>;
  readonly feedForward: Readonly<Record<string, FloatTensor>>;
}

/** All weights but the embedding rows, which stay in the file's format. */
export interface Weights {
  readonly layers: readonly LayerWeights[];
  readonly outputNorm: FloatTensor;
  readonly head: FloatTensor;
}

/** Reads and dequantizes every weight; `onLayer` is told after each layer. */
export function readWeights(file: ModelFile, onLayer?: (done: number, total: number) => void): Weights {
  const { config } = file;
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < config.layers; layer++) {
    layers.push(readLayer(file, config, layer));
    onLayer?.(layer + 1, config.layers);
  }
  return {
    layers,
    outputNorm: floatTensor(file.tensor("output_norm"), [config.width]),
    head: floatTensor(file.tensor("output"), [config.vocabulary, config.width]),
  };
}

function readLayer(file: ModelFile, config: ModelConfig, layer: number): LayerWeights {
  const { width, feedForward, headDim } = config;
  const queries = config.queryHeads * headDim;
  const joined = queries + 2 * config.kvHeads * headDim;
  const projection: Record<string, FloatTensor> = {
    attentionNorm: floatTensor(file.tensor(`layers.${layer}.attention_norm`), [width]),
    projection: floatTensor(
      concatenate([file.tensor(`layers.${layer}.query`), file.tensor(`layers.${layer}.key`), file.tensor(`layers.${layer}.value`)]),
      [joined, width],
    ),
  };
  if (config.attentionBias) {
    const biases = [file.tensor(`layers.${layer}.query_bias`), file.tensor(`layers.${layer}.key_bias`), file.tensor(`layers.${layer}.value_bias`)];
    projection["projectionBias"] = floatTensor(concatenate(biases), [joined]);
  }
  if (config.queryKeyNorm) {
    projection["queryNorm"] = floatTensor(file.tensor(`layers.${layer}.query_norm`), [headDim]);
    projection["keyNorm"] = floatTensor(file.tensor(`layers.${layer}.key_norm`), [headDim]);
  }
  return {
    projection,
    feedForward: {
      attentionOutput: floatTensor(file.tensor(`layers.${layer}.attention_output`), [width, queries]),
      feedForwardNorm: floatTensor(file.tensor(`layers.${layer}.ffn_norm`), [width]),
      gateUp: floatTensor(concatenate([file.tensor(`layers.${layer}.gate`), file.tensor(`layers.${layer}.up`)]), [2 * feedForward, width]),
      down: floatTensor(file.tensor(`layers.${layer}.down`), [width, feedForward]),
    },
  };
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const joined = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
