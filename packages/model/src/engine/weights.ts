/** A model's weights as tensors ready to be graph inputs, in fp32. */

import type { ModelConfig } from "../config/model-config.js";
import type { LayerPart } from "../config/tensor-name.js";
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
  const keys = config.kvHeads * headDim;
  const read = (part: LayerPart, dimensions: readonly number[]) => floatTensor(file.tensor(`layers.${layer}.${part}`), dimensions);
  return {
    projection: {
      attentionNorm: read("attention_norm", [width]),
      query: read("query", [queries, width]),
      key: read("key", [keys, width]),
      value: read("value", [keys, width]),
      ...(config.attentionBias && { queryBias: read("query_bias", [queries]), keyBias: read("key_bias", [keys]), valueBias: read("value_bias", [keys]) }),
      ...(config.queryKeyNorm && { queryNorm: read("query_norm", [headDim]), keyNorm: read("key_norm", [headDim]) }),
    },
    feedForward: {
      attentionOutput: read("attention_output", [width, queries]),
      feedForwardNorm: read("ffn_norm", [width]),
      gate: read("gate", [feedForward, width]),
      up: read("up", [feedForward, width]),
      down: read("down", [width, feedForward]),
    },
  };
}
