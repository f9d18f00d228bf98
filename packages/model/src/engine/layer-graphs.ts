/** The forward graphs of one transformer layer around its attention, and of the head. Weights are inputs `[out, in]`. */

import type { ModelConfig } from "../config/model-config.js";
import { GraphBuilder } from "./graph-builder.js";


/**
 * x `[rows, width]` -> query `[rows, queryHeads * headDim]`, key and value `[rows, kvHeads * headDim]`:
 * RMS norm, fused q/k/v projection, bias (qwen2), per-head norms of q and k (qwen3). Before RoPE.
 */
export function buildProjectionGraph(config: ModelConfig): Uint8Array {
  const graph = new GraphBuilder();
  const [query, key, value] = addProjection(graph, config, addNorm(graph, graph.input("x", ["rows", config.width]), "attentionNorm", config));
  graph.output(query, "query", ["rows", config.queryHeads * config.headDim]);
  graph.output(key, "key", ["rows", config.kvHeads * config.headDim]);
  graph.output(value, "value", ["rows", config.kvHeads * config.headDim]);
  return graph.build();
}

/** attention `[rows, queryHeads * headDim]` and x `[rows, width]` -> y `[rows, width]`: output projection, residual, SwiGLU, residual. */
export function buildFeedForwardGraph(config: ModelConfig): Uint8Array {
  const { width, feedForward } = config;
  const graph = new GraphBuilder();
  const attention = graph.input("attention", ["rows", config.queryHeads * config.headDim]);
  const x = graph.input("x", ["rows", width]);
  const middle = graph.node("Add", [x, addLinear(graph, attention, graph.input("attentionOutput", [width, config.queryHeads * config.headDim]))]);
  const normed = addNorm(graph, middle, "feedForwardNorm", config);
  const [gate, up] = graph.split(addLinear(graph, normed, graph.input("gateUp", [2 * feedForward, width])), [feedForward, feedForward]);
  const activation = graph.node("Mul", [graph.node("Mul", [gate!, graph.node("Sigmoid", [gate!])]), up!]);
  const down = addLinear(graph, activation, graph.input("down", [width, feedForward]));
  graph.output(graph.node("Add", [middle, down]), "y", ["rows", width]);
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
  const logits = addLinear(graph, graph.input("hidden", ["rows", config.width]), graph.input("head", [config.vocabulary, config.width]));
  const result = kind === "logits" ? logits : graph.node("LogSoftmax", [logits], { axis: -1n });
  graph.output(result, "result", ["rows", config.vocabulary]);
  return graph.build();
}

/** `x w'` for a weight stored `[out, in]`. */
function addLinear(graph: GraphBuilder, x: string, weight: string): string {
  return graph.node("Gemm", [x, weight], { transB: 1n });
}

/** Root mean square norm over the last axis, times the weight input `name` of that axis' size. */
function addNorm(graph: GraphBuilder, x: string, name: string, config: ModelConfig, size: number = config.width): string {
  return graph.node("SimplifiedLayerNormalization", [x, graph.input(name, [size])], { axis: -1n, epsilon: config.normEpsilon });
}

function addProjection(graph: GraphBuilder, config: ModelConfig, normed: string): [string, string, string] {
  const queries = config.queryHeads * config.headDim;
  const keys = config.kvHeads * config.headDim;
  let joined = addLinear(graph, normed, graph.input("projection", [queries + 2 * keys, config.width]));
  if (config.attentionBias) joined = graph.node("Add", [joined, graph.input("projectionBias", [queries + 2 * keys])]);
  const [query, key, value] = graph.split(joined, [queries, keys, keys]);
  if (!config.queryKeyNorm) return [query!, key!, value!];
  return [addHeadNorm(graph, config, query!, "queryNorm"), addHeadNorm(graph, config, key!, "keyNorm"), value!];
}

/** RMS norm of each head alone, `[rows, heads * headDim]`. */
function addHeadNorm(graph: GraphBuilder, config: ModelConfig, x: string, name: string): string {
  const heads = graph.node("Reshape", [x, graph.integers([0, -1, config.headDim])]);
  return graph.node("Flatten", [addNorm(graph, heads, name, config, config.headDim)], { axis: 1n });
}
