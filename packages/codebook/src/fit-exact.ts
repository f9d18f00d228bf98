/** The best levels for a histogram, by dynamic programming. */

import type { WeightedHistogram } from "./histogram.js";
import { addUnusedLevels, checkLevelCount, roundLevels } from "./levels.js";
import { clusterMean, collectPoints } from "./weighted-points.js";
import type { WeightedPoints } from "./weighted-points.js";

/**
 * Levels `[levels]`, strictly increasing, with the least `sum w * (x - nearest level)^2` over the histogram's bin means: one-dimensional weighted
 * k-means, solved exactly and deterministically in O(levels * n log n) float64 operations for n occupied bins, then rounded to fp32. Among equally
 * good partitions, clusters are cut as far left as possible, the rightmost cluster first. With no more occupied bins than levels, every bin mean is a
 * level, and each level left over goes to the point of [minimum, maximum] farthest from all others (ties: the lowest).
 * Source: Wang & Song 2011, "Ckmeans.1d.dp"; divide and conquer over the monotone cuts. KVQuant section 3.3 (nuq).
 * @throws INVALID_ARGUMENT for a histogram without weight, or levels outside 1 .. 256
 */
export function fitExact(histogram: WeightedHistogram, levels: number): Float32Array {
  checkLevelCount(levels);
  const points = collectPoints(histogram);
  if (points.count <= levels) return roundLevels(addUnusedLevels([...points.value], levels, histogram));
  const cuts = bestCuts(points, levels);
  return roundLevels(Float64Array.from({ length: levels }, (_, cluster) => clusterMean(points, cuts[cluster]!, cuts[cluster + 1]!)));
}

/** Starts of the clusters and, last, the number of points, `[levels + 1]`. */
function bestCuts(points: WeightedPoints, levels: number): Int32Array {
  const { count, sum0, sum1, sum2 } = points;
  /** Least cost of points 0 .. i-1 in the clusters so far, and with one cluster more. */
  let cost = new Float64Array(count + 1).fill(Infinity);
  let next = new Float64Array(count + 1);
  /** starts[k * (count + 1) + i]: where the last of k + 1 clusters over points 0 .. i-1 starts. */
  const starts = new Int32Array(levels * (count + 1));
  let row = 0;

  /** Fills `next` and `starts` for ends low .. high, whose last cluster starts within first .. last. */
  function solve(low: number, high: number, first: number, last: number): void {
    if (low > high) return;
    const end = (low + high) >> 1;
    const end0 = sum0[end]!;
    const end1 = sum1[end]!;
    const end2 = sum2[end]!;
    let best = Infinity;
    let bestStart = first;
    const stop = last < end - 1 ? last : end - 1;
    for (let start = first; start <= stop; start++) {
      const mass = end0 - sum0[start]!;
      const moment = end1 - sum1[start]!;
      // Rounding only: a mass lost in the running sums costs nothing, and no cost is below 0.
      const spread = mass > 0 ? end2 - sum2[start]! - (moment * moment) / mass : 0;
      const candidate = cost[start]! + (spread > 0 ? spread : 0);
      if (candidate < best) {
        best = candidate;
        bestStart = start;
      }
    }
    next[end] = best;
    starts[row + end] = bestStart;
    solve(low, end - 1, first, bestStart);
    solve(end + 1, high, bestStart, last);
  }

  cost[0] = 0;
  for (let clusters = 1; clusters <= levels; clusters++) {
    row = (clusters - 1) * (count + 1);
    next.fill(Infinity);
    solve(clusters, count, clusters - 1, count - 1);
    [cost, next] = [next, cost];
  }
  const cuts = new Int32Array(levels + 1);
  cuts[levels] = count;
  for (let cluster = levels - 1; cluster >= 0; cluster--) cuts[cluster] = starts[cluster * (count + 1) + cuts[cluster + 1]!]!;
  return cuts;
}
