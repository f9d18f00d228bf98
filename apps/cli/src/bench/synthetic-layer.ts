/** Quantizers fitted to synthetic statistics: for speed and size, which depend on the data only through the share of outliers. */

import { openNativeCodec } from "@kvquant/cpu";
import type { NativeCacheOptions, NativeLayerPlan } from "@kvquant/cpu";
import { artifactTableBytes, fitArtifact, openArtifact, parsePreset } from "@kvquant/quant";
import type { CachePreset, CalibrationStatistics, KvqArtifact, LayerCodecs, Quantizer } from "@kvquant/quant";
import { makeStatistics } from "@kvquant/quant/testing";

/** Sizes of a layer's keys, or of its values. */
export interface LayerSize {
  readonly kvHeads: number;
  readonly headDim: number;
}

/** A fitted layer. */
export interface SyntheticLayer {
  readonly preset: string;
  readonly plan: NativeLayerPlan;
  /** The TypeScript codecs of the same artifact, against which the native ones are checked. */
  readonly reference: LayerCodecs;
}

export const syntheticRopeBase = 10_000;

/** Statistics of random tokens whose channels have their own spread and mean, with 1% outliers; one sink. */
export function makeSyntheticStatistics({ kvHeads, headDim }: LayerSize): CalibrationStatistics {
  return makeStatistics({ shape: { layers: 1, queryHeads: kvHeads, kvHeads, headDim }, windows: 1, tokens: statisticsTokens({ kvHeads, headDim }) });
}

/** A preset fitted to a layer, in TypeScript. */
export interface FittedLayer {
  readonly artifact: KvqArtifact;
  readonly reference: LayerCodecs;
}

/**
 * Fits any preset, of the user's own quantizers too.
 * @throws UNSUPPORTED for a head dim that it does not have
 */
export function fitReferenceLayer(preset: string | CachePreset, statistics: CalibrationStatistics, quantizers: readonly Quantizer[] = []): FittedLayer {
  const { sensitivity, shape } = statistics;
  const length = statisticsTokens(shape);
  const artifact = fitArtifact(typeof preset === "string" ? parsePreset(preset) : preset, statistics, {
    model: { fingerprint: "synthetic", name: "synthetic", architecture: "none" },
    calibration: { textFingerprint: "synthetic", sequences: 1, length, tokens: length, sensitivity, method: "kvquant/synthetic", methodVersion: 1 },
  });
  return { artifact, reference: openArtifact(artifact, quantizers)[0]! };
}

/**
 * Fits a preset that has kernels.
 * @throws UNSUPPORTED for a preset or head dim without kernels
 */
export function fitSyntheticLayer(preset: string, statistics: CalibrationStatistics): SyntheticLayer {
  const { artifact, reference } = fitReferenceLayer(preset, statistics);
  const { key, value } = artifact.layers[0]!;
  return { preset, plan: { key: openNativeCodec(key), value: openNativeCodec(value), tableBytes: artifactTableBytes(artifact) }, reference };
}

/** Rotary embedding of synthetic caches. */
export function syntheticRope(headDim: number): NativeCacheOptions["rope"] {
  return { headDim, rotaryDim: headDim, base: syntheticRopeBase, scaling: { type: "none" } };
}

/** Tokens that the statistics are made of; fewer for wide layers, whose heads are alike. */
function statisticsTokens({ kvHeads, headDim }: LayerSize): number {
  return Math.min(1025, Math.max(257, Math.floor(2 ** 20 / (kvHeads * headDim))));
}
