/** Randomly rotated unit vectors on the best levels for normal numbers, with one norm a token and head. */

import { lloydMaxNormal, midpoints, nearestCode } from "@kvquant/codebook";
import { linear } from "@kvquant/packing";
import type { Side } from "@kvquant/spec";
import { artifactArray, corrupt } from "../corrupt.js";
import type { Geometry } from "../geometry.js";
import { applyHadamard, hadamardBlock } from "../numeric/hadamard.js";
import type { Quantizer } from "../quantizer.js";
import { loadHalf, storeHalf } from "../numeric/half-numbers.js";
import { checkCodeWidth, openCodeWidth } from "./code-width.js";
import type { CodeWidth } from "./code-width.js";
import { baselineFrame } from "./integer.js";
import { pageQuantizer } from "../page-quantizer.js";
import type { PageMethod } from "../page-quantizer.js";
import { randomUniform } from "../numeric/random-uniform.js";

/** Options of `turbo`. */
export interface TurboOptions {
  readonly side: Side;
  readonly bits: CodeWidth;
}

/** Draws the signs; part of the recipe, not of the format, for the signs lie in the artifact. */
const SEED = 20250428;

/**
 * Each head of a token is divided by its root mean square (fp16, stored), its channels take fixed random signs, and each run of m channels is multiplied
 * by the orthonormal Hadamard matrix, m the largest power of two that divides the head dim; each number then takes the nearest of the Lloyd-Max
 * levels of the normal distribution. Keys after RoPE. A block is the codes (linear, token after token), then one half a token and head.
 * Source: Zandieh et al. 2025, "TurboQuant", algorithm 1 (the one for squared error); the random rotation there is a dense orthogonal matrix, and its
 * second stage, a 1-bit sketch of the error, is left out, as implementations of the cache do. Array: `signs` `[headDim]`.
 * @throws INVALID_ARGUMENT
 */
export function turbo({ side, bits }: TurboOptions): Quantizer {
  checkCodeWidth("turbo", bits);
  return pageQuantizer({
    id: `baseline/turbo-${side}s`,
    side,
    frame: baselineFrame(side),
    fit({ geometry: { headDim } }) {
      const random = randomUniform(SEED);
      const signs = Float32Array.from({ length: headDim }, () => (random() < 0.5 ? -1 : 1));
      const stages = [...(side === "key" ? ["rope"] : []), "normalize:rms", "signs", `hadamard:${hadamardBlock(headDim)}`];
      return { bits, packing: linear(bits).id, stages, arrays: { signs } };
    },
    open(artifact, geometry) {
      const width = openCodeWidth(artifact);
      const signs = artifactArray(artifact, "signs", geometry.headDim);
      if (!signs.every((sign) => Math.abs(sign) === 1)) throw corrupt(`artifact ${artifact.id}: signs`, "1 and -1", signs.find((sign) => Math.abs(sign) !== 1));
      return turboMethod(width, signs, geometry);
    },
  });
}

function turboMethod(bits: 2 | 3 | 4, signs: Float32Array, { kvHeads, headDim }: Geometry): PageMethod {
  const columns = kvHeads * headDim;
  const packing = linear(bits);
  const levels = lloydMaxNormal(bits);
  const middles = midpoints(levels);
  const block = hadamardBlock(headDim);
  const codeBytes = (tokens: number): number => packing.byteLength(tokens * columns);

  return {
    byteLength: (tokens) => codeBytes(tokens) + 2 * tokens * kvHeads,
    write(x, tokens, bytes) {
      const side = codeBytes(tokens);
      for (let vector = 0; vector < tokens * kvHeads; vector++) {
        const start = vector * headDim;
        let sum = 0;
        for (let channel = 0; channel < headDim; channel++) sum += x[start + channel]! ** 2;
        const norm = storeHalf(bytes, side + 2 * vector, Math.sqrt(sum / headDim));
        const inverse = norm === 0 ? 0 : 1 / norm;
        for (let channel = 0; channel < headDim; channel++) x[start + channel] = x[start + channel]! * signs[channel]! * inverse;
      }
      applyHadamard(x, block);
      packing.pack(Uint8Array.from(x, (value) => nearestCode(middles, value)), bytes.subarray(0, side));
    },
    read(bytes, tokens, out) {
      const side = codeBytes(tokens);
      const codes = packing.unpack(bytes.subarray(0, side), tokens * columns);
      for (let index = 0; index < codes.length; index++) out[index] = levels[codes[index]!]!;
      applyHadamard(out, block);
      for (let vector = 0; vector < tokens * kvHeads; vector++) {
        const norm = loadHalf(bytes, side + 2 * vector);
        const start = vector * headDim;
        for (let channel = 0; channel < headDim; channel++) out[start + channel] = out[start + channel]! * signs[channel]! * norm;
      }
    },
  };
}
