/** Feedback of all heads as artifact arrays. */

import type { QuantizerArtifact } from "@kvquant/spec";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import { artifactArray, corrupt } from "../corrupt.js";
import type { Geometry } from "../geometry.js";
import { fitFeedback } from "./feedback.js";
import { lacksStatistics } from "./fitted-levels.js";

/** Arrays `feedbackOrder` `[kvHeads * headDim]` and `feedbackWeights` `[kvHeads * headDim * (headDim - 1) / 2]`. */
export interface FeedbackArrays {
  readonly feedbackOrder: Float32Array;
  readonly feedbackWeights: Float32Array;
}

/**
 * Learns the feedback of every KV head.
 * @throws UNSUPPORTED for statistics of sensitivity `none`
 */
export function feedbackArrays({ geometry, key, sensitivity }: LayerStatistics): FeedbackArrays {
  const { kvHeads, headDim } = geometry;
  if (key.feedback === undefined) throw lacksStatistics(`feedback rounding needs the matrices H, which sensitivity ${sensitivity} does not collect`, "calibrate with --sensitivity fisher or --sensitivity attention");
  const pairs = (headDim * (headDim - 1)) / 2;
  const feedbackOrder = new Float32Array(kvHeads * headDim);
  const feedbackWeights = new Float32Array(kvHeads * pairs);
  for (let head = 0; head < kvHeads; head++) {
    const { order, weights } = fitFeedback(key.feedback.subarray(head * headDim * headDim, (head + 1) * headDim * headDim), headDim);
    feedbackOrder.set(order, head * headDim);
    feedbackWeights.set(weights, head * pairs);
  }
  return { feedbackOrder, feedbackWeights };
}

/**
 * Reads the arrays again; `undefined` when the stages name no feedback.
 * @throws CORRUPT_DATA when an order is no permutation
 */
export function openFeedbackArrays(artifact: QuantizerArtifact, { kvHeads, headDim }: Geometry): { order: Float32Array; weights: Float32Array } | undefined {
  if (!artifact.stages.includes("feedback")) return undefined;
  const order = artifactArray(artifact, "feedbackOrder", kvHeads * headDim);
  for (let head = 0; head < kvHeads; head++) {
    const channels = new Set(order.subarray(head * headDim, (head + 1) * headDim));
    for (let channel = 0; channel < headDim; channel++) if (!channels.has(channel)) throw corrupt(`artifact ${artifact.id}: feedbackOrder of head ${head}`, `a permutation of 0 to ${headDim - 1}`, `one without ${channel}`);
  }
  return { order, weights: artifactArray(artifact, "feedbackWeights", (kvHeads * headDim * (headDim - 1)) / 2) };
}
