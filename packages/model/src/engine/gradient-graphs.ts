/** Hand-written vector-Jacobian graphs of a layer's dense parts and of the head; forward values are recomputed. */

import type { ModelConfig } from "../config/model-config.js";
import { GraphBuilder } from "./graph-builder.js";

/**
 * Of the feed-forward graph: x, attention and dY -> dX `[rows, width]` (through the residuals) and
 * dAttention `[rows, queryHeads * headDim]`.
 */
export function buildFeedForwardGradientGraph(config: ModelConfig): Uint8Array {
  const { width, feedForward } = config;
  const queries = config.queryHeads * config.headDim;
  const graph = new GraphBuilder();
  const x = graph.input("x", ["rows", width]);
  const attention = graph.input("attention", ["rows", queries]);
  const dY = graph.input("dY", ["rows", width]);
  const attentionOutput = graph.input("attentionOutput", [width, queries]);
  const norm = graph.input("feedForwardNorm", [width]);
  const gateWeight = graph.input("gate", [feedForward, width]);
  const upWeight = graph.input("up", [feedForward, width]);
  const down = graph.input("down", [width, feedForward]);

  const middle = graph.node("Add", [x, graph.linear(attention, attentionOutput)]);
  const normed = addNorm(graph, middle, norm, config.normEpsilon);
  const gate = graph.linear(normed.y, gateWeight);
  const up = graph.linear(normed.y, upWeight);
  const sigmoid = graph.node("Sigmoid", [gate]);
  const swish = graph.node("Mul", [gate, sigmoid]);

  // d swish / d gate = sigmoid * (1 + gate * (1 - sigmoid)) = sigmoid + swish * (1 - sigmoid)
  const dActivation = graph.product(dY, down);
  const one = graph.floats([1]);
  const slope = graph.node("Add", [sigmoid, graph.node("Mul", [swish, graph.node("Sub", [one, sigmoid])])]);
  const dGate = graph.node("Mul", [graph.node("Mul", [dActivation, up]), slope]);
  const dUp = graph.node("Mul", [dActivation, swish]);
  const dNormed = graph.node("Add", [graph.product(dGate, gateWeight), graph.product(dUp, upWeight)]);
  const dX = graph.node("Add", [dY, addNormGradient(graph, dNormed, normed, norm)]);
  graph.output(dX, "dX", ["rows", width]);
  graph.output(graph.product(dX, attentionOutput), "dAttention", ["rows", queries]);
  return graph.build();
}

/** Of the projection graph: x, dQuery, dKey, dValue (all before RoPE) and dResidual -> dX `[rows, width]` = dResidual + projection's part. */
export function buildProjectionGradientGraph(config: ModelConfig): Uint8Array {
  const { width, headDim } = config;
  const queries = config.queryHeads * headDim;
  const keys = config.kvHeads * headDim;
  const graph = new GraphBuilder();
  const x = graph.input("x", ["rows", width]);
  let dQuery = graph.input("dQuery", ["rows", queries]);
  let dKey = graph.input("dKey", ["rows", keys]);
  const dValue = graph.input("dValue", ["rows", keys]);
  const dResidual = graph.input("dResidual", ["rows", width]);
  const norm = graph.input("attentionNorm", [width]);
  const weights = { query: graph.input("query", [queries, width]), key: graph.input("key", [keys, width]), value: graph.input("value", [keys, width]) };
  const normed = addNorm(graph, x, norm, config.normEpsilon);
  if (config.queryKeyNorm) {
    const project = (name: "query" | "key", size: number) => graph.linear(normed.y, weights[name], config.attentionBias ? graph.input(`${name}Bias`, [size]) : undefined);
    dQuery = addHeadNormGradient(graph, config, { x: project("query", queries), dY: dQuery, norm: graph.input("queryNorm", [headDim]) });
    dKey = addHeadNormGradient(graph, config, { x: project("key", keys), dY: dKey, norm: graph.input("keyNorm", [headDim]) });
  }
  const products = [graph.product(dQuery, weights.query), graph.product(dKey, weights.key), graph.product(dValue, weights.value)];
  const dNormed = graph.node("Sum", products);
  graph.output(graph.node("Add", [dResidual, addNormGradient(graph, dNormed, normed, norm)]), "dX", ["rows", width]);
  return graph.build();
}

/**
 * Of final norm and head under the summed cross-entropy: x `[rows, width]` and target one-hot rows times a 0/1 weight ->
 * dX `[rows, width]` and the rows' log-probabilities `[rows, vocabulary]`.
 */
export function buildLossGradientGraph(config: ModelConfig): Uint8Array {
  const { width, vocabulary } = config;
  const graph = new GraphBuilder();
  const x = graph.input("x", ["rows", width]);
  const norm = graph.input("outputNorm", [width]);
  const head = graph.input("head", [vocabulary, width]);
  const scored = graph.input("scored", ["rows", 1]);
  const targetRows = graph.input("targetRows", ["rows", width]);
  const normed = addNorm(graph, x, norm, config.normEpsilon);
  const logProbabilities = graph.node("LogSoftmax", [graph.product(normed.y, head, { transposeB: true })], { axis: -1n });
  // d loss / d hidden = softmax(logits) W - W[target]
  const expected = graph.product(graph.node("Exp", [logProbabilities]), head);
  const dHidden = graph.node("Mul", [graph.node("Sub", [expected, targetRows]), scored]);
  graph.output(addNormGradient(graph, dHidden, normed, norm), "dX", ["rows", width]);
  graph.output(logProbabilities, "logProbabilities", ["rows", vocabulary]);
  return graph.build();
}

/** A norm's forward values that its gradient needs: 1/rms, the unit rows, and the scaled result. */
interface Normed {
  readonly reciprocal: string;
  readonly unit: string;
  readonly y: string;
}

function addNorm(graph: GraphBuilder, x: string, weight: string, epsilon: number): Normed {
  const meanSquare = addRowMean(graph, graph.node("Mul", [x, x]));
  const reciprocal = graph.node("Reciprocal", [graph.node("Sqrt", [graph.node("Add", [meanSquare, graph.floats([epsilon])])])]);
  const unit = graph.node("Mul", [x, reciprocal]);
  return { reciprocal, unit, y: graph.node("Mul", [unit, weight]) };
}

/** dX = (d - unit * mean(d * unit)) / rms with d = dY * weight. */
function addNormGradient(graph: GraphBuilder, dY: string, normed: Normed, weight: string): string {
  const d = graph.node("Mul", [dY, weight]);
  const along = graph.node("Mul", [normed.unit, addRowMean(graph, graph.node("Mul", [d, normed.unit]))]);
  return graph.node("Mul", [normed.reciprocal, graph.node("Sub", [d, along])]);
}

function addHeadNormGradient(graph: GraphBuilder, config: ModelConfig, values: { x: string; dY: string; norm: string }): string {
  const heads = (value: string) => graph.node("Reshape", [value, graph.integers([0, -1, config.headDim])]);
  const normed = addNorm(graph, heads(values.x), values.norm, config.normEpsilon);
  return graph.node("Flatten", [addNormGradient(graph, heads(values.dY), normed, values.norm)], { axis: 1n });
}

function addRowMean(graph: GraphBuilder, x: string): string {
  return graph.node("ReduceMean", [x, graph.integers([-1])], { keepdims: 1n });
}
