/** Values rotated, standardised per channel and quantized with one fp16 number a token. */

import { lloydMaxNormal, midpoints as midpointsOf, snapToGrid } from "@kvquant/codebook";
import { floatFromHalf } from "@kvquant/packing";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, EncodedBlock, Matrix, QuantizerArtifact } from "@kvquant/spec";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import { checkOut, checkPage } from "../check-matrix.js";
import { artifactArray, corrupt } from "../corrupt.js";
import { encodeGeometry } from "../geometry.js";
import type { Geometry } from "../geometry.js";
import { applyHadamard, hadamardBlock } from "../numeric/hadamard.js";
import { finiteHalfBits, roundToHalves } from "../numeric/half-array.js";
import { inverseOf } from "../numeric/inverse-of.js";
import { findCodes } from "../numeric/level-search.js";
import type { Quantizer } from "../quantizer.js";
import { openLevels } from "./fitted-levels.js";
import type { OpenLevels } from "./fitted-levels.js";
import { checkCodeBits, headPacking } from "./head-packing.js";
import type { CodeBits, HeadPacking } from "./head-packing.js";
import { openArtifactLayout } from "./open-artifact-layout.js";
import { blockWriter, parseBlock } from "./page-layout.js";
import type { PageLayout } from "./page-layout.js";
import { readTokenHalves, writeTokenHalves } from "./token-data.js";

/** Smallest stored deviation: the smallest normal half, so that a constant channel divides by no zero. */
const SMALLEST_DEVIATION = 2 ** -14;

/**
 * `lloyd-max`: the least squared error; what is decoded is too small on average, by the factor 1 - D. `unbiased`: the same codes, levels divided by
 * 1 - D, so that errors do not add up where attention averages values of many tokens.
 */
export type RotatedLevels = "lloyd-max" | "unbiased";

/** Squared error D of the Lloyd-Max quantizer of 2 to 5 bits on N(0, 1) (Max 1960, table I). */
const DISTORTION: Readonly<Record<CodeBits, number>> = { 2: 0.1175, 3: 0.03454, 4: 0.009497, 5: 0.002499 };

/** Options of `rotatedValues`. */
export interface RotatedValuesOptions {
  readonly bits: CodeBits;
  /** Default `lloyd-max`. */
  readonly levels?: RotatedLevels;
}

/** Levels span -3 to 3 root mean squares. */
const SPAN = 3;

/**
 * Values in a rotated frame, no outliers (recipes of this project, section 5): `y = (v H - mean) / deviation` per channel with H the
 * orthonormal Hadamard matrix of each head, `r = rms(y)` over all KV heads of a token, levels of `y / (3 r)` for the normal
 * distribution (Lloyd-Max or freed of its bias, on the grid k/127). Token data: fp16(3 r). Arrays: `mean`, `deviation` `[kvHeads * headDim]` fp16, `levels`, `midpoints`.
 */
export function rotatedValues(options: RotatedValuesOptions): Quantizer {
  const { bits, levels: kind = "lloyd-max" } = options;
  checkCodeBits(bits);
  const id = "kvquant/rotated-values";

  function fit({ geometry, value }: LayerStatistics): QuantizerArtifact {
    const spread = lloydMaxNormal(bits).map((level) => level / SPAN);
    const levels = snapToGrid(spread);
    return {
      id,
      bits,
      packing: headPacking("value", bits, geometry.headDim).id,
      stages: ["hadamard", "standardize:channel", "normalize:rms"],
      arrays: {
        geometry: encodeGeometry(geometry),
        mean: roundToHalves(Float32Array.from(value.rotatedMean)),
        deviation: roundToHalves(Float32Array.from(value.rotatedDeviation)).map((deviation) => Math.max(deviation, SMALLEST_DEVIATION)),
        levels: kind === "unbiased" ? snapToGrid(spread.map((level) => level / (1 - DISTORTION[bits]))) : levels,
        midpoints: midpointsOf(levels),
      },
    };
  }

  return {
    specVersion: 1,
    id,
    side: "value",
    frame: "pre-rope",
    fit,
    open(artifact) {
      const { geometry, columns, packing } = openArtifactLayout(artifact, id, "value");
      const deviation = artifactArray(artifact, "deviation", columns);
      if (!deviation.every((value) => value >= SMALLEST_DEVIATION)) throw corrupt(`artifact ${id}: deviation`, "numbers of at least 2^-14", deviation.reduce((least, value) => Math.min(least, value)));
      return rotatedCodec({ geometry, levels: openLevels(artifact), packing, mean: artifactArray(artifact, "mean", columns), deviation });
    },
  };
}

interface RotatedPlan {
  readonly geometry: Geometry;
  readonly levels: OpenLevels;
  readonly packing: HeadPacking;
  readonly mean: Float32Array;
  readonly deviation: Float32Array;
}

/**
 * fp32, for each token: u = v H (`applyHadamard`), y = (u - mean) * (1 / deviation), sum of y * y in channel order, r = sqrt(sum / C),
 * t = fp16(3 * r), code = count of midpoints < y * (1 / t). Decoded: u = (level * t) * deviation + mean, v = u H.
 */
function rotatedCodec({ geometry, levels: open, packing, mean, deviation }: RotatedPlan): BlockCodec {
  const { kvHeads, headDim } = geometry;
  const columns = kvHeads * headDim;
  const layout: PageLayout = { kvHeads, headDim, packing, sideBytes: 0, outliers: false, tokenArrays: 1 };
  const { levels } = open;
  const block = hadamardBlock(headDim);
  const inverse = deviation.map((value) => inverseOf(value));
  const rotated = new Float32Array(PAGE_TOKENS * columns);
  const codes = new Uint8Array(PAGE_TOKENS * headDim);
  const normalised = new Float32Array(PAGE_TOKENS * headDim);
  const scaleBits = new Uint16Array(PAGE_TOKENS);
  const scales = new Float32Array(PAGE_TOKENS);

  function standardise(tokens: number): void {
    for (let token = 0; token < tokens; token++) {
      const start = token * columns;
      let sum = 0;
      for (let column = 0; column < columns; column++) {
        const y = Math.fround(Math.fround(rotated[start + column]! - mean[column]!) * inverse[column]!);
        rotated[start + column] = y;
        sum = Math.fround(sum + Math.fround(y * y));
      }
      scaleBits[token] = finiteHalfBits(Math.fround(SPAN * Math.fround(Math.sqrt(Math.fround(sum / columns)))));
      scales[token] = floatFromHalf(scaleBits[token]!);
    }
  }

  return {
    encode(x: Matrix): EncodedBlock {
      checkPage(x, columns);
      const tokens = x.rows;
      const writer = blockWriter(layout);
      rotated.set(x.data);
      applyHadamard(rotated.subarray(0, tokens * columns), block);
      standardise(tokens);
      if (tokens < PAGE_TOKENS) codes.fill(0);
      for (let head = 0; head < kvHeads; head++) {
        for (let token = 0; token < tokens; token++) {
          const perScale = inverseOf(scales[token]!);
          const from = token * columns + head * headDim;
          for (let channel = 0; channel < headDim; channel++) {
            normalised[token * headDim + channel] = rotated[from + channel]! * perScale;
          }
        }
        findCodes(open, normalised, 0, tokens * headDim, codes);
        writer.addHead({ codes, side: undefined, outliers: undefined });
      }
      return { tokens, bytes: writer.finish((bytes, offset) => writeTokenHalves(bytes, offset, scaleBits, tokens)), saturated: 0, clamped: 0 };
    },
    decode(encoded: EncodedBlock, out: Matrix): void {
      const sections = parseBlock(layout, encoded);
      readTokenHalves(encoded.bytes, sections.tokenData, encoded.tokens, scales);
      checkOut(out, encoded.tokens, columns);
      const { data } = out;
      for (let head = 0; head < kvHeads; head++) {
        const { codes: offset } = sections.heads[head]!;
        packing.unpack(encoded.bytes.subarray(offset, offset + packing.byteLength), codes);
        for (let token = 0; token < encoded.tokens; token++) {
          const scale = scales[token]!;
          const to = token * columns + head * headDim;
          const from = token * headDim;
          for (let channel = 0; channel < headDim; channel++) {
            const column = head * headDim + channel;
            const y = Math.fround(levels[codes[from + channel]!]! * scale);
            data[to + channel] = Math.fround(y * deviation[column]!) + mean[column]!;
          }
        }
      }
      applyHadamard(data, block);
    },
  };
}
