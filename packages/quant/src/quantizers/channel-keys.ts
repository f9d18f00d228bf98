/** The paper's keys: one offline scale and zero point a channel, outliers by offline thresholds; feedback rounding optional. */

import { check, KvquantError } from "@kvquant/spec";
import type { QuantizerArtifact } from "@kvquant/spec";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import { keyRange, normalisedKeys } from "../calibration/key-range.js";
import type { ChannelRange } from "../calibration/key-range.js";
import { artifactArray } from "../corrupt.js";
import { encodeGeometry } from "../geometry.js";
import { roundToHalves } from "../numeric/half-array.js";
import type { Frame, Quantizer } from "../quantizer.js";
import { feedbackArrays, openFeedbackArrays } from "./feedback-arrays.js";
import { fitLevels, openLevels } from "./fitted-levels.js";
import type { LevelKind } from "./fitted-levels.js";
import { checkCodeBits, headPacking } from "./head-packing.js";
import type { CodeBits } from "./head-packing.js";
import { openArtifactLayout } from "./open-artifact-layout.js";
import { keyCodec } from "./key-codec.js";
import type { ScaleRule } from "./key-codec.js";

/** Options of `channelKeys`. */
export interface ChannelKeysOptions {
  readonly bits: CodeBits;
  /** Fraction of each channel's calibration values outside its range, two-sided; 0 takes min and max. Default 0. */
  readonly outliers?: number;
  /** Default `learned`. */
  readonly levels?: LevelKind;
  /** Feedback rounding (GPTQ's rule on keys). Default false. */
  readonly feedback?: boolean;
  /** `post-rope` takes keys after RoPE, a rung of the ladder: uniform levels, no outliers, no feedback. Default `pre-rope`. */
  readonly frame?: Frame;
  /** Q-Norm: decoded levels moved to keep mean and deviation (KVQuant section 3.6). Default false. */
  readonly qNorm?: boolean;
}

/**
 * Keys quantized per channel with fp16 scales and zero points fitted offline (KVQuant sections 3.1 to 3.4). Values outside the calibrated
 * range are outliers: stored as fp16 differences, up to 15 a token and head, the largest |x_n| first; the rest saturates and is counted.
 * Arrays: `scale`, `zero`, `low`, `high` `[kvHeads * headDim]`, `levels`, `midpoints`, with feedback `feedbackOrder`, `feedbackWeights`.
 * @throws INVALID_ARGUMENT for options that exclude each other
 */
export function channelKeys(options: ChannelKeysOptions): Quantizer {
  const { bits, outliers = 0, levels = "learned", feedback = false, frame = "pre-rope", qNorm = false } = options;
  checkCodeBits(bits);
  check(outliers >= 0 && outliers < 0.5, "channelKeys: outliers", "a fraction from 0 to 0.5", outliers);
  const plain = levels === "uniform" && outliers === 0 && !feedback && !qNorm;
  check(frame === "pre-rope" || plain, "channelKeys: post-rope keys", "uniform levels without outliers, feedback and Q-Norm", "others");
  const id = frame === "pre-rope" ? "kvquant/channel-keys" : "kvquant/channel-keys-post-rope";

  function fit(statistics: LayerStatistics): QuantizerArtifact {
    const { geometry, key } = statistics;
    if (outliers > 0 && geometry.headDim > 256) throw new KvquantError("UNSUPPORTED", `channelKeys: outliers: expected a head dim up to 256 (8-bit indices), got ${geometry.headDim}; use outliers: 0`);
    const range = frame === "post-rope" ? { low: key.rotatedMinimum, high: key.rotatedMaximum } : keyRange(key, outliers);
    const scale = halfScale(range);
    const zero = halfZero(range);
    const histogram = frame === "post-rope" ? undefined : normalisedKeys(key, range, scale, zero);
    const stages = [...(frame === "post-rope" ? ["rope"] : []), ...(outliers > 0 ? ["outliers:channel"] : []), "normalize:channel", ...(feedback ? ["feedback"] : [])];
    return {
      id,
      bits,
      packing: headPacking("key", bits, geometry.headDim).id,
      stages,
      arrays: {
        geometry: encodeGeometry(geometry),
        scale,
        zero,
        low: range.low.slice(),
        high: range.high.slice(),
        ...fitLevels(levels, bits, { histogram, qNorm }),
        ...(feedback && feedbackArrays(statistics)),
      },
    };
  }

  return {
    specVersion: 1,
    id,
    side: "key",
    frame,
    fit,
    open(artifact) {
      const { geometry, columns, packing } = openArtifactLayout(artifact, id, "key");
      return keyCodec({
        geometry,
        levels: openLevels(artifact),
        packing,
        scales: offlineScales(artifactArray(artifact, "scale", columns), artifactArray(artifact, "zero", columns), geometry.headDim),
        thresholds: { low: artifactArray(artifact, "low", columns), high: artifactArray(artifact, "high", columns) },
        outliers: artifact.stages.includes("outliers:channel"),
        feedback: openFeedbackArrays(artifact, geometry),
      });
    },
  };
}

/** Half the width of each range, fp16. */
export function halfScale(range: ChannelRange): Float32Array {
  return roundToHalves(range.low.map((low, channel) => (range.high[channel]! - low) / 2));
}

/** Middle of each range, fp16. */
export function halfZero(range: ChannelRange): Float32Array {
  return roundToHalves(range.low.map((low, channel) => (range.high[channel]! + low) / 2));
}

function offlineScales(scale: Float32Array, zero: Float32Array, headDim: number): ScaleRule {
  const fill: ScaleRule["read"] = (head, _side, scales) => {
    const start = head * headDim;
    for (let channel = 0; channel < headDim; channel++) {
      scales.scale[channel] = scale[start + channel]!;
      scales.zero[channel] = zero[start + channel]!;
    }
  };
  return {
    sideBytes: 0,
    measure(head, _page, _tokens, scales, side) {
      fill(head, side, scales);
      return 0;
    },
    read: fill,
  };
}
