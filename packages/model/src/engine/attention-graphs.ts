/** Exact causal attention of one KV head as matrix products, and its vector-Jacobian product. */

import { GraphBuilder } from "./graph-builder.js";

/**
 * q `[group, queries, headDim]` rotated and scaled, k and v `[keys, headDim]`, mask `[queries, keys]` -> out like q.
 * With `columnSums`: also spread `[keys]` = sum over rows of p - p^2, and square `[keys]` = sum of p^2 (recipes: attention sensitivity).
 */
export function buildAttentionGraph(headDim: number, options: { columnSums: boolean }): Uint8Array {
  const graph = new GraphBuilder();
  const { probabilities, v } = addProbabilities(graph, headDim);
  graph.output(graph.product(probabilities, v), "out", ["group", "queries", headDim]);
  if (options.columnSums) {
    const square = graph.node("Mul", [probabilities, probabilities]);
    const axes = graph.integers([0, 1]);
    const spread = graph.node("Sub", [probabilities, square]);
    graph.output(graph.node("ReduceSum", [spread, axes], { keepdims: 0n }), "spread", ["keys"]);
    graph.output(graph.node("ReduceSum", [square, axes], { keepdims: 0n }), "square", ["keys"]);
  }
  return graph.build();
}

/**
 * Given dOut (like q) and the forward's out: dQ (like q; of the scaled q), dK and dV `[keys, headDim]` of this run of queries.
 * dV = P' dOut; dS = P * (dOut V' - rowsum(dOut * out)); dQ = dS K; dK = dS' Q.
 */
export function buildAttentionGradientGraph(headDim: number): Uint8Array {
  const graph = new GraphBuilder();
  const { probabilities, q, k, v } = addProbabilities(graph, headDim);
  const out = graph.input("out", ["group", "queries", headDim]);
  const dOut = graph.input("dOut", ["group", "queries", headDim]);
  const rowSum = graph.node("ReduceSum", [graph.node("Mul", [dOut, out]), graph.integers([-1])], { keepdims: 1n });
  const dProbabilities = graph.product(dOut, v, { transposeB: true });
  const dScores = graph.node("Mul", [probabilities, graph.node("Sub", [dProbabilities, rowSum])]);
  graph.output(graph.product(dScores, k), "dQ", ["group", "queries", headDim]);
  const flat = (value: string) => graph.node("Flatten", [value], { axis: 2n });
  graph.output(graph.product(flat(dScores), flat(q), { transposeA: true }), "dK", ["keys", headDim]);
  graph.output(graph.product(flat(probabilities), flat(dOut), { transposeA: true }), "dV", ["keys", headDim]);
  return graph.build();
}

function addProbabilities(graph: GraphBuilder, headDim: number): { probabilities: string; q: string; k: string; v: string } {
  const q = graph.input("q", ["group", "queries", headDim]);
  const k = graph.input("k", ["keys", headDim]);
  const v = graph.input("v", ["keys", headDim]);
  const mask = graph.input("mask", ["queries", "keys"]);
  const scores = graph.node("Add", [graph.product(q, k, { transposeB: true }), mask]);
  return { probabilities: graph.node("Softmax", [scores], { axis: -1n }), q, k, v };
}
