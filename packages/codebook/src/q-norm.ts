/** Q-Norm: levels to decode with that restore mean and spread. */

import type { WeightedHistogram } from "./histogram.js";
import { checkLevels } from "./levels.js";
import { midpoints, nearestCode } from "./nearest-code.js";
import { collectPoints } from "./weighted-points.js";

/**
 * Decode levels `[levels]`: with mean m1 and standard deviation d1 of the values and m2, d2 of their nearest levels, `level * d1/d2 + (m1 - m2 * d1/d2)`. Encode with
 * the original levels, decode with these. Pass a histogram with weight 1 for each value, not the Fisher weights of the fit. When d1 or d2 is 0, so
 * that one level takes all values, the ratio is taken as 1: levels only shift. The result may leave [-1, 1] and a grid.
 * Source: KVQuant section 3.6.
 * @throws INVALID_ARGUMENT for a histogram without weight, or levels that are not finite and strictly increasing
 */
export function qNorm(histogram: WeightedHistogram, levels: Float32Array): Float32Array {
  checkLevels(levels);
  const points = collectPoints(histogram);
  const middles = midpoints(levels);
  const codes = Uint8Array.from(points.value, (value) => nearestCode(middles, value));
  let mean = 0;
  let quantizedMean = 0;
  for (let i = 0; i < points.count; i++) {
    mean += points.weight[i]! * points.value[i]!;
    quantizedMean += points.weight[i]! * levels[codes[i]!]!;
  }
  let variance = 0;
  let quantizedVariance = 0;
  for (let i = 0; i < points.count; i++) {
    variance += points.weight[i]! * (points.value[i]! - mean) ** 2;
    quantizedVariance += points.weight[i]! * (levels[codes[i]!]! - quantizedMean) ** 2;
  }
  // Of a single level rounding can leave a trace of variance, and of a weight that is next to nothing none.
  const isSpread = codes.some((code) => code !== codes[0]) && variance > 0 && quantizedVariance > 0;
  const ratio = isSpread ? Math.sqrt(variance / quantizedVariance) : 1;
  return levels.map((level) => level * ratio + (mean - quantizedMean * ratio));
}
