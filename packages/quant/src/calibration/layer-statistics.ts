/** What calibration leaves behind: everything any preset is fitted from, independent of presets and of the number of tokens. */

import type { WeightedHistogram } from "@kvquant/codebook";
import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape } from "@kvquant/spec";
import type { Geometry } from "../geometry.js";
import type { ChannelHistograms } from "./channel-histograms.js";
import type { HeldOutPage } from "./held-out-page.js";
import type { Sensitivity } from "./layer-window.js";

/** A histogram of normalised values, once with sensitivities as weights and once with plain counts. */
export interface NormalisedHistogram {
  /** Weights F * s^2, s = half the range that a value was divided by. */
  readonly weighted: WeightedHistogram;
  /** Weight 1 a value. */
  readonly plain: WeightedHistogram;
}

/** Statistics of one layer's keys. Sinks and held-out pages are in none of them. C = kvHeads * headDim. */
export interface KeyStatistics {
  /** Smallest and largest value of each channel before RoPE `[C]`. */
  readonly minimum: Float32Array;
  readonly maximum: Float32Array;
  /** The same after RoPE `[C]`. */
  readonly rotatedMinimum: Float32Array;
  readonly rotatedMaximum: Float32Array;
  /** Raw values of each channel, from which every percentile and every preset's normalised histogram follows. */
  readonly channels: ChannelHistograms;
  /** Values normalised by the range of their channel within a page of 64 tokens. */
  readonly pages: NormalisedHistogram;
  /** H = sum of g g' of each KV head `[kvHeads, headDim, headDim]`, float64; absent for sensitivity `none`. */
  readonly feedback?: Float64Array;
}

/** One fraction's histogram of values, normalised token by token. */
export interface ValueFraction {
  /** Fraction of each token's values that was taken out as outliers. */
  readonly fraction: number;
  readonly histogram: NormalisedHistogram;
}

/** Statistics of one layer's values. */
export interface ValueStatistics {
  readonly fractions: readonly ValueFraction[];
  /** Mean of each channel after the Hadamard rotation of its head `[C]`. */
  readonly rotatedMean: Float64Array;
  /** Standard deviation of the same `[C]`. */
  readonly rotatedDeviation: Float64Array;
}

/** Statistics of one layer; what `Quantizer.fit` reads. */
export interface LayerStatistics {
  readonly geometry: Geometry;
  readonly sensitivity: Sensitivity;
  /** Tokens that were counted, sinks and held-out pages not among them. */
  readonly tokens: number;
  readonly key: KeyStatistics;
  readonly value: ValueStatistics;
  /** Pages kept out of everything above, for pricing quantizers on text that they were not fitted to. */
  readonly heldOut: readonly HeldOutPage[];
}

/** Statistics of a model. */
export interface CalibrationStatistics {
  readonly shape: CacheShape;
  readonly rope: RopeConfig;
  /** First tokens of each window that were left out of everything. */
  readonly sinkTokens: number;
  readonly sensitivity: Sensitivity;
  /** Windows added to each layer. */
  readonly windows: number;
  readonly layers: readonly LayerStatistics[];
}
