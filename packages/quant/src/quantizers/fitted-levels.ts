/** Levels of a quantizer: learned or even, on the grid that kernels hold as signed bytes. */

import { fitOnGrid, midpoints, qNorm, snapToGrid, uniformOnGrid } from "@kvquant/codebook";
import type { WeightedHistogram } from "@kvquant/codebook";
import { KvquantError } from "@kvquant/spec";
import type { QuantizerArtifact } from "@kvquant/spec";
import type { NormalisedHistogram } from "../calibration/layer-statistics.js";
import { artifactArray } from "../corrupt.js";
import { prepareSearch } from "../numeric/level-search.js";
import type { LevelSearch } from "../numeric/level-search.js";
import type { CodeBits } from "./head-packing.js";

/** `learned`: weighted k-means on calibration data ("nuq", KVQuant section 3.3). `uniform`: even from -1 to 1. */
export type LevelKind = "learned" | "uniform";

/** What a quantizer stores of its levels. */
export interface FittedLevels {
  /** Levels that codes decode to, of the form k/127 `[2^bits]`. */
  readonly levels: Float32Array;
  /** What encoding compares with; with Q-Norm not the midpoints of `levels` `[2^bits - 1]`. */
  readonly midpoints: Float32Array;
}

/** Levels ready for encoding and decoding. */
export interface OpenLevels extends LevelSearch {
  readonly levels: Float32Array;
}

/**
 * Fits 2^bits levels on the grid k/127. With `qNorm`, decoded levels are moved so that mean and deviation of the quantised values match
 * those of the values (KVQuant section 3.6), and put back on the grid; encoding keeps the original ones. Data without weight gets even levels.
 */
export function fitLevels(kind: LevelKind, bits: CodeBits, options: { histogram?: NormalisedHistogram | undefined; qNorm?: boolean }): FittedLevels {
  const { histogram } = options;
  const levels = kind === "learned" && histogram !== undefined && hasWeight(histogram.weighted) ? fitOnGrid(histogram.weighted, 2 ** bits) : uniformOnGrid(bits);
  const middles = midpoints(levels);
  if (!options.qNorm || histogram === undefined || !hasWeight(histogram.plain)) return { levels, midpoints: middles };
  return { levels: snapToGrid(qNorm(histogram.plain, levels)), midpoints: middles };
}

/**
 * Reads the arrays `levels` and `midpoints` of an artifact.
 * @throws CORRUPT_DATA
 */
export function openLevels(artifact: QuantizerArtifact): OpenLevels {
  const levels = artifactArray(artifact, "levels", 2 ** artifact.bits);
  return { levels, ...prepareSearch(artifactArray(artifact, "midpoints", levels.length - 1)) };
}

/** The UNSUPPORTED error for statistics that lack what a quantizer's options need. */
export function lacksStatistics(what: string, remedy: string): KvquantError {
  return new KvquantError("UNSUPPORTED", `${what}: the calibration statistics lack it; ${remedy}`);
}

function hasWeight(histogram: WeightedHistogram): boolean {
  return histogram.weight.some((weight) => weight > 0);
}
