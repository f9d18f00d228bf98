/** What quantizers from files are built with, in one object, so that such a file needs nothing installed beside it. */

import { lloydMaxNormal, midpoints, nearestCode, normalFloat, uniformLevels } from "@kvquant/codebook";
import { linear } from "@kvquant/packing";
import { check, checkFinite, checkInteger, KvquantError } from "@kvquant/spec";
import { fitCentroids, nearestCentroid } from "./baselines/fit-centroids.js";
import { loadHalf, storeHalf } from "./numeric/half-numbers.js";
import { pageQuantizer } from "./page-quantizer.js";
import { randomUniform } from "./numeric/random-uniform.js";
import { decodeScaledHalves } from "./calibration/held-out-page.js";
import { channelQuantile, keyRange } from "./calibration/key-range.js";
import { artifactArray, corrupt } from "./corrupt.js";
import { applyHadamard, hadamardBlock } from "./numeric/hadamard.js";
import { finiteHalf } from "./numeric/half-array.js";
import { nonUniform, uniform } from "./staged/coders.js";
import { hadamard } from "./staged/hadamard.js";
import { normalize } from "./staged/normalize.js";
import { outliers } from "./staged/outliers.js";
import { staged } from "./staged/staged.js";

/**
 * Handed to the function that a file given with `--quantizer` exports by default: `pageQuantizer` makes a quantizer of how a page is written and read,
 * `staged` of ready stages; the rest is arithmetic, packing and errors. Everything here is documented where it is defined.
 */
export const quantizerKit = {
  pageQuantizer,
  staged,
  normalize,
  outliers,
  hadamard,
  nonUniform,
  uniform,
  linear,
  storeHalf,
  loadHalf,
  finiteHalf,
  applyHadamard,
  hadamardBlock,
  uniformLevels,
  normalFloat,
  lloydMaxNormal,
  midpoints,
  nearestCode,
  fitCentroids,
  nearestCentroid,
  randomUniform,
  keyRange,
  channelQuantile,
  decodeScaledHalves,
  artifactArray,
  corrupt,
  check,
  checkFinite,
  checkInteger,
  KvquantError,
} as const;

/** Type of `quantizerKit`, for the JSDoc of a plain JavaScript file: `@param {import("@kvquant/quant").QuantizerKit} kit`. */
export type QuantizerKit = typeof quantizerKit;
