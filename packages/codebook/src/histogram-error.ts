/** The objective that fits minimise. */

import type { WeightedHistogram } from "./histogram.js";
import { checkLevels } from "./levels.js";
import { midpoints, nearestCode } from "./nearest-code.js";

/**
 * `sum w * (x - nearest level)^2` over the histogram's bin means x with bin weights w, in float64; 0 for an empty histogram. Divide by the total weight for a
 * mean. The spread within bins, the same for all levels, is not in it.
 * @throws INVALID_ARGUMENT unless levels are finite and strictly increasing
 */
export function histogramError(histogram: WeightedHistogram, levels: Float32Array): number {
  checkLevels(levels);
  const middles = midpoints(levels);
  let error = 0;
  for (let bin = 0; bin < histogram.bins; bin++) {
    const weight = histogram.weight[bin]!;
    if (weight === 0) continue;
    const mean = histogram.weightedSum[bin]! / weight;
    const difference = mean - levels[nearestCode(middles, mean)]!;
    error += weight * difference * difference;
  }
  return error;
}
