/** The one set of tensor names the packages use, whatever the file calls them. */

import type { ModelConfig } from "./model-config.js";

/** Tensors each layer has. */
export type LayerPart =
  | "attention_norm"
  | "query"
  | "key"
  | "value"
  | "attention_output"
  | "ffn_norm"
  | "gate"
  | "up"
  | "down"
  | "query_bias"
  | "key_bias"
  | "value_bias"
  | "query_norm"
  | "key_norm";

/** A tensor of the model; `output` is the head (the embedding when tied). */
export type TensorName = "embedding" | "output_norm" | "output" | `layers.${number}.${LayerPart}`;

/** Rows and columns; vectors have one row and `vector` set. */
export interface TensorShape {
  readonly rows: number;
  readonly cols: number;
  readonly vector: boolean;
}

/** Every tensor a model of this configuration has, with its shape `[out, in]`; a tied head is not listed. */
export function tensorShapes(config: ModelConfig): Map<TensorName, TensorShape> {
  const { width, feedForward, vocabulary, headDim } = config;
  const queries = config.queryHeads * headDim;
  const keys = config.kvHeads * headDim;
  const shapes = new Map<TensorName, TensorShape>();
  shapes.set("embedding", matrix(vocabulary, width));
  shapes.set("output_norm", vector(width));
  if (!config.tiedEmbeddings) shapes.set("output", matrix(vocabulary, width));
  for (let layer = 0; layer < config.layers; layer++) {
    const set = (part: LayerPart, shape: TensorShape): void => void shapes.set(`layers.${layer}.${part}`, shape);
    set("attention_norm", vector(width));
    set("query", matrix(queries, width));
    set("key", matrix(keys, width));
    set("value", matrix(keys, width));
    set("attention_output", matrix(width, queries));
    set("ffn_norm", vector(width));
    set("gate", matrix(feedForward, width));
    set("up", matrix(feedForward, width));
    set("down", matrix(width, feedForward));
    if (config.attentionBias) {
      set("query_bias", vector(queries));
      set("key_bias", vector(keys));
      set("value_bias", vector(keys));
    }
    if (config.queryKeyNorm) {
      set("query_norm", vector(headDim));
      set("key_norm", vector(headDim));
    }
  }
  return shapes;
}

/** The layer and part of a layer's tensor, undefined for the three others. */
export function layerPart(name: TensorName): { layer: number; part: LayerPart } | undefined {
  const match = /^layers\.(\d+)\.(.+)$/.exec(name);
  return match ? { layer: Number(match[1]), part: match[2] as LayerPart } : undefined;
}

function matrix(rows: number, cols: number): TensorShape {
  return { rows, cols, vector: false };
}

function vector(cols: number): TensorShape {
  return { rows: 1, cols, vector: true };
}
