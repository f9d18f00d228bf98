/** Keys with scales and zero points of their own page, 8 bits each. */

import { PAGE_TOKENS } from "@kvquant/spec";
import type { QuantizerArtifact } from "@kvquant/spec";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import { keyRange } from "../calibration/key-range.js";
import { artifactArray, corrupt } from "../corrupt.js";
import { channelOfCode, encodeGeometry } from "../geometry.js";
import type { Geometry } from "../geometry.js";
import type { Quantizer } from "../quantizer.js";
import { halfScale, halfZero } from "./channel-keys.js";
import { feedbackArrays, openFeedbackArrays } from "./feedback-arrays.js";
import { fitLevels, openLevels } from "./fitted-levels.js";
import type { LevelKind } from "./fitted-levels.js";
import { checkCodeBits, headPacking } from "./head-packing.js";
import type { CodeBits } from "./head-packing.js";
import { openArtifactLayout } from "./open-artifact-layout.js";
import { keyCodec } from "./key-codec.js";
import type { ScaleRule } from "./key-codec.js";
import { HIGHEST_EXPONENT, LOWEST_EXPONENT, powerOfExponent, roundedExponent } from "./page-scale.js";

/** Options of `pageKeys`. */
export interface PageKeysOptions {
  readonly bits: CodeBits;
  /** Default `uniform`. */
  readonly levels?: LevelKind;
  /** Feedback rounding. Default true. */
  readonly feedback?: boolean;
  /** Decoded levels keep mean and deviation of the page-normalised keys (KVQuant section 3.6). Default false; see docs/experiments.md. */
  readonly qNorm?: boolean;
}

/** Smallest calibrated scale: the smallest normal half. */
const SMALLEST_SCALE = 2 ** -14;

/**
 * Keys quantized per channel within each page of 64 tokens; no outliers (recipes of this project, section 4). Calibration gives each channel
 * a = fp16(half its range, at least 2^-14) and z = fp16(its middle), arrays `scale` and `zero`; a page stores, in code order,
 * ```
 * e + 192 as u8, e = round(16 log2(s / a)) in [-192, 63]:       scale = a * 2^(e / 16)
 * n + 128 as u8, n = round(64 (middle - z) / a) in [-128, 127]:  zero  = z + a * n / 64
 * ```
 * with s = half the page's range of the channel, seen from the rounded zero point when n was clamped. A channel constant on the page has
 * e = -192. Values beyond the range take the end level.
 */
export function pageKeys(options: PageKeysOptions): Quantizer {
  const { bits, levels = "uniform", feedback = true, qNorm = false } = options;
  checkCodeBits(bits);
  const id = "kvquant/page-keys";

  function fit(statistics: LayerStatistics): QuantizerArtifact {
    const { geometry, key } = statistics;
    const range = keyRange(key, 0);
    return {
      id,
      bits,
      packing: headPacking("key", bits, geometry.headDim).id,
      stages: ["normalize:page", ...(feedback ? ["feedback"] : [])],
      arrays: {
        geometry: encodeGeometry(geometry),
        scale: halfScale(range).map((scale) => Math.max(scale, SMALLEST_SCALE)),
        zero: halfZero(range),
        ...fitLevels(levels, bits, { histogram: key.pages, qNorm }),
        ...(feedback && feedbackArrays(statistics)),
      },
    };
  }

  return {
    specVersion: 1,
    id,
    side: "key",
    frame: "pre-rope",
    fit,
    open(artifact) {
      const { geometry, columns, packing } = openArtifactLayout(artifact, id, "key");
      const scale = artifactArray(artifact, "scale", columns);
      if (!scale.every((value) => value >= SMALLEST_SCALE)) throw corrupt(`artifact ${id}: scale`, "numbers of at least 2^-14", scale.reduce((least, value) => Math.min(least, value)));
      return keyCodec({
        geometry,
        levels: openLevels(artifact),
        packing,
        scales: pageScales(scale, artifactArray(artifact, "zero", columns), geometry),
        outliers: false,
        feedback: openFeedbackArrays(artifact, geometry),
      });
    },
  };
}

/** The side data: headDim u8 scales, headDim u8 zeros, both in code order, zeros up to a multiple of 64 bytes. */
function pageScales(offlineScale: Float32Array, offlineZero: Float32Array, geometry: Geometry): ScaleRule {
  const { headDim } = geometry;
  const channels = channelOfCode(geometry);
  return {
    sideBytes: Math.ceil((2 * headDim) / 64) * 64,
    measure(head, page, tokens, scales, side) {
      let clamped = 0;
      for (let code = 0; code < headDim; code++) {
        const channel = channels[code]!;
        const a = offlineScale[head * headDim + channel]!;
        const z = offlineZero[head * headDim + channel]!;
        const first = channel * PAGE_TOKENS;
        let low = page[first]!;
        let high = low;
        for (let index = first + 1; index < first + tokens; index++) {
          const value = page[index]!;
          if (value < low) low = value;
          if (value > high) high = value;
        }
        const middle = Math.fround(Math.fround(low + high) / 2);
        const offset = roundAwayFromZero(Math.fround(Math.fround(Math.fround(middle - z) * 64) / a));
        const n = offset < -128 ? -128 : offset > 127 ? 127 : offset;
        const zero = Math.fround(z + Math.fround(Math.fround(a * n) / 64));
        let half = Math.fround(Math.fround(high - low) / 2);
        if (n !== offset) half = Math.max(Math.fround(high - zero), Math.fround(zero - low));
        const exponent = high === low ? LOWEST_EXPONENT : roundedExponent(Math.fround(half / a));
        const e = exponent < LOWEST_EXPONENT ? LOWEST_EXPONENT : exponent > HIGHEST_EXPONENT ? HIGHEST_EXPONENT : exponent;
        if (n !== offset || e !== exponent) clamped++;
        scales.scale[channel] = Math.fround(a * powerOfExponent(e));
        scales.zero[channel] = zero;
        side[code] = e - LOWEST_EXPONENT;
        side[headDim + code] = n + 128;
      }
      return clamped;
    },
    read(head, side, scales) {
      for (let code = 0; code < headDim; code++) {
        const channel = channels[code]!;
        const a = offlineScale[head * headDim + channel]!;
        const z = offlineZero[head * headDim + channel]!;
        scales.scale[channel] = Math.fround(a * powerOfExponent(side[code]! + LOWEST_EXPONENT));
        scales.zero[channel] = Math.fround(z + Math.fround(Math.fround(a * (side[headDim + code]! - 128)) / 64));
      }
    },
  };
}

function roundAwayFromZero(x: number): number {
  return x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5);
}
