/** The plug-in contract of quantizers. */

import type { BlockCodec, QuantizerArtifact, Side } from "@kvquant/spec";
import type { LayerStatistics } from "./calibration/layer-statistics.js";

/** Whether a quantizer sees keys before or after RoPE; values have no position and always count as `pre-rope`. */
export type Frame = "pre-rope" | "post-rope";

/**
 * Turns calibration statistics of a layer into plain data, and plain data into a codec of pages. A plain object: what it learns
 * lies in the artifact, and `open` needs nothing else, so that any quantizer with the same id opens it.
 */
export interface Quantizer {
  readonly specVersion: 1;
  /** Namespaced, such as `kvquant/channel-keys`; names the artifact's and the bytes' format. */
  readonly id: string;
  readonly side: Side;
  readonly frame: Frame;
  /**
   * Fits one layer. Deterministic.
   * @throws UNSUPPORTED when the statistics lack what the options need, naming the remedy
   */
  fit(statistics: LayerStatistics): QuantizerArtifact;
  /**
   * Makes the codec of a fitted layer.
   * @throws CORRUPT_DATA when the artifact is not one of this id
   */
  open(artifact: QuantizerArtifact): BlockCodec;
}
