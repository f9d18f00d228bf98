/** The forward graphs of one transformer layer around its attention, and of the head. Weights are inputs `[out, in]`. */

import type { ModelConfig } from "../config/model-config.js";
import { GraphBuilder } from "./graph-builder.js";

/**
 * x `[rows, width]` -> query `[rows, queryHeads * headDim]`, key and value `[rows, kvHeads * headDim]`:
 * RMS norm, projections with their biases (qwen2), per-head norms of q and k (qwen3). Before RoPE.
 */
export function buildProjectionGraph(config: ModelConfig): Uint8Array {
  const { width, headDim } = config;
  const queries = config.queryHeads * headDim;
  const keys = config.kvHeads * headDim;
  const graph = new GraphBuilder();
  const normed = addNorm(graph, graph.input("x", ["rows", width]), "attentionNorm", config);
  const project = (name: string, size: number) =>
    graph.linear(normed, graph.input(name, [size, width]), config.attentionBias ? graph.input(`${name}Bias`, [size]) : undefined);
  const query = project("query", queries);
  const key = project("key", keys);
  graph.output(config.queryKeyNorm ? addHeadNorm(graph, config, query, "queryNorm") : query, "queries", ["rows", queries]);
  graph.output(config.queryKeyNorm ? addHeadNorm(graph, config, key, "keyNorm") : key, "keys", ["rows", keys]);
  graph.output(project("value", keys), "values", ["rows", keys]);
  return graph.build();
}

/** attention `[rows, queryHeads * headDim]` and x `[rows, width]` -> y `[rows, width]`: output projection, residual, SwiGLU, residual. */
export function buildFeedForwardGraph(config: ModelConfig): Uint8Array {
  const { width, feedForward } = config;
  const queries = config.queryHeads * config.headDim;
  const graph = new GraphBuilder();
  const attention = graph.input("attention", ["rows", queries]);
  const x = graph.input("x", ["rows", width]);
  const middle = graph.node("Add", [x, graph.linear(attention, graph.input("attentionOutput", [width, queries]))]);
  const normed = addNorm(graph, middle, "feedForwardNorm", config);
  const gate = graph.linear(normed, graph.input("gate", [feedForward, width]));
  const up = graph.linear(normed, graph.input("up", [feedForward, width]));
  const activation = graph.node("Mul", [graph.swish(gate), up]);
  graph.output(graph.node("Add", [middle, graph.linear(activation, graph.input("down", [width, feedForward]))]), "y", ["rows", width]);
  return graph.build();
}

/** x `[rows, width]` -> hidden `[rows, width]`: the norm before the head. */
export function buildFinalNormGraph(config: ModelConfig): Uint8Array {
  const graph = new GraphBuilder();
  const x = graph.input("x", ["rows", config.width]);
  graph.output(addNorm(graph, x, "outputNorm", config), "hidden", ["rows", config.width]);
  return graph.build();
}

/** hidden `[rows, width]` -> logits or log-softmax `[rows, vocabulary]`. */
export function buildHeadGraph(config: ModelConfig, kind: "logits" | "logProbabilities"): Uint8Array {
  const graph = new GraphBuilder();
  const logits = graph.linear(graph.input("hidden", ["rows", config.width]), graph.input("head", [config.vocabulary, config.width]));
  const result = kind === "logits" ? logits : graph.node("LogSoftmax", [logits], { axis: -1n });
  graph.output(result, "result", ["rows", config.vocabulary]);
  return graph.build();
}

/** Root mean square norm over the last axis, times the weight input `name` of that axis' size. */
function addNorm(graph: GraphBuilder, x: string, name: string, config: ModelConfig, size: number = config.width): string {
  return graph.node("SimplifiedLayerNormalization", [x, graph.input(name, [size])], { axis: -1n, epsilon: config.normEpsilon });
}

/** RMS norm of each head alone, `[rows, heads * headDim]`. */
function addHeadNorm(graph: GraphBuilder, config: ModelConfig, x: string, name: string): string {
  const heads = graph.node("Reshape", [x, graph.integers([0, -1, config.headDim])]);
  return graph.node("Flatten", [addNorm(graph, heads, name, config, config.headDim)], { axis: 1n });
}
