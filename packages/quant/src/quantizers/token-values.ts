/** The paper's values: scale and zero point per token over all KV heads, outliers chosen token by token. */

import { check, KvquantError } from "@kvquant/spec";
import type { QuantizerArtifact, Side } from "@kvquant/spec";
import type { LayerStatistics, NormalisedHistogram } from "../calibration/layer-statistics.js";
import { outlierCount } from "../calibration/value-accumulator.js";
import { artifactArray, corrupt } from "../corrupt.js";
import { channelOfCode, encodeGeometry } from "../geometry.js";
import type { Quantizer } from "../quantizer.js";
import { fitLevels, openLevels } from "./fitted-levels.js";
import type { LevelKind } from "./fitted-levels.js";
import { checkCodeBits, headPacking } from "./head-packing.js";
import type { CodeBits } from "./head-packing.js";
import { openArtifactLayout } from "./open-artifact-layout.js";
import { tokenCodec } from "./token-codec.js";

/** Options of `tokenValues`. */
export interface TokenValuesOptions {
  readonly bits: CodeBits;
  /** Fraction of each token's values, over all KV heads, that is stored exactly; levels are learned for 0, 0.005 and 0.01. Default 0. */
  readonly outliers?: number;
  /** Default `learned`. */
  readonly levels?: LevelKind;
  /** `key` quantizes keys after RoPE this way, a rung of the ladder: uniform levels only. Default `value`. */
  readonly side?: Side;
  /** Q-Norm: decoded levels moved to keep mean and deviation (KVQuant section 3.6). Default false. */
  readonly qNorm?: boolean;
}

/**
 * Rows quantized per token over all KV heads (KVQuant sections 3.1 and 3.4). The `round(fraction * kvHeads * headDim)` values that deviate most
 * from the token's mean are outliers, stored as fp16 differences with their head, up to 15 a token and head; scale and zero point (fp16)
 * come from the range of the rest. Token data: scales `[64]`, zeros `[64]`. Arrays: `levels`, `midpoints`, `outliers` = `[count]`.
 * @throws INVALID_ARGUMENT
 */
export function tokenValues(options: TokenValuesOptions): Quantizer {
  const { bits, outliers = 0, levels = "learned", side = "value", qNorm = false } = options;
  checkCodeBits(bits);
  check(outliers >= 0 && outliers < 0.5, "tokenValues: outliers", "a fraction from 0 to 0.5", outliers);
  check(side === "value" || (levels === "uniform" && !qNorm), "tokenValues: keys", "uniform levels without Q-Norm", levels);
  const id = side === "value" ? "kvquant/token-values" : "kvquant/token-keys-post-rope";

  function fit(statistics: LayerStatistics): QuantizerArtifact {
    const { geometry } = statistics;
    if (outliers > 0 && geometry.headDim > 256) throw new KvquantError("UNSUPPORTED", `tokenValues: outliers: expected a head dim up to 256 (8-bit indices), got ${geometry.headDim}; use outliers: 0`);
    const count = outlierCount(outliers, geometry.kvHeads * geometry.headDim);
    return {
      id,
      bits,
      packing: headPacking(side, bits, geometry.headDim).id,
      stages: [...(side === "key" ? ["rope"] : []), ...(count > 0 ? ["outliers:token"] : []), "normalize:token"],
      arrays: {
        geometry: encodeGeometry(geometry),
        outliers: Float32Array.of(count),
        ...fitLevels(levels, bits, { histogram: levels === "uniform" && !qNorm ? undefined : valueHistogram(statistics, outliers), qNorm }),
      },
    };
  }

  return {
    specVersion: 1,
    id,
    side,
    frame: side === "key" ? "post-rope" : "pre-rope",
    fit,
    open(artifact) {
      const { geometry, packing } = openArtifactLayout(artifact, id, side);
      const [count] = artifactArray(artifact, "outliers", 1);
      if (!Number.isInteger(count) || count! < 0 || count! >= geometry.kvHeads * geometry.headDim) throw corrupt(`artifact ${id}: outliers`, `0 to ${geometry.kvHeads * geometry.headDim - 1}`, count);
      const channels = side === "key" ? channelOfCode(geometry) : Uint16Array.from({ length: geometry.headDim }, (_, channel) => channel);
      return tokenCodec({ geometry, levels: openLevels(artifact), packing, channels, outliers: count! });
    },
  };
}

/**
 * The histogram of values normalised token by token after removing `fraction` as outliers.
 * @throws UNSUPPORTED for a fraction that calibration does not collect
 */
export function valueHistogram({ value }: LayerStatistics, fraction: number): NormalisedHistogram {
  const found = value.fractions.find((entry) => entry.fraction === fraction);
  if (found === undefined) {
    const fractions = value.fractions.map((entry) => entry.fraction).join(", ");
    throw new KvquantError("UNSUPPORTED", `learned levels of values: expected an outlier fraction out of ${fractions}, got ${fraction}; use one of them or uniform levels`);
  }
  return found.histogram;
}
