/** Lloyd's iteration: levels to the means of their cells, cells to the midpoints of levels. */

import { check, checkInteger, checkLength } from "@kvquant/spec";
import type { WeightedHistogram } from "./histogram.js";
import { addUnusedLevels, checkLevelCount, checkLevels, roundLevels } from "./levels.js";
import { clusterMean, collectPoints } from "./weighted-points.js";
import type { WeightedPoints } from "./weighted-points.js";

/** Settings of `fitLloyd`. */
export interface LloydOptions {
  /**
   * Where to start. `quantile` (default): level i at the weighted quantile (i + 1/2) / levels, repeated ones replaced as `fitExact` places unused
   * levels. `uniform`: the middles of equal parts of [minimum, maximum]. Or levels of one's own.
   */
  readonly initial?: "quantile" | "uniform" | Float32Array;
  /** Most iterations; default 100. It stops before when no point changes its cell. */
  readonly iterations?: number;
}

/**
 * Levels `[levels]` at a local optimum of what `fitExact` minimises globally; a level whose cell is empty stays where it is.
 * Deterministic. Source: Lloyd 1982, "Least squares quantization in PCM".
 * @throws INVALID_ARGUMENT for a histogram without weight, levels outside 1 .. 256, or wrong initial levels
 */
export function fitLloyd(histogram: WeightedHistogram, levels: number, options: LloydOptions = {}): Float32Array {
  checkLevelCount(levels);
  const iterations = options.iterations ?? 100;
  checkInteger("fitLloyd: iterations", iterations, { minimum: 0 });
  const points = collectPoints(histogram);
  const current = initialLevels(histogram, points, levels, options.initial ?? "quantile");
  const starts = new Int32Array(levels + 1).fill(-1);
  for (let iteration = 0; iteration < iterations; iteration++) {
    if (!assignCells(points, current, starts)) break;
    for (let cell = 0; cell < levels; cell++) {
      const from = starts[cell]!;
      const to = starts[cell + 1]!;
      if (from < to) current[cell] = clusterMean(points, from, to);
    }
  }
  return roundLevels(current);
}

/** Finds where each cell starts; false when nothing changed. */
function assignCells(points: WeightedPoints, levels: Float64Array, starts: Int32Array): boolean {
  let changed = false;
  let point = 0;
  for (let cell = 0; cell <= levels.length; cell++) {
    if (cell === levels.length) point = points.count;
    else if (cell > 0) {
      const middle = (levels[cell - 1]! + levels[cell]!) / 2;
      while (point < points.count && points.value[point]! <= middle) point++;
    }
    if (starts[cell] !== point) changed = true;
    starts[cell] = point;
  }
  return changed;
}

function initialLevels(histogram: WeightedHistogram, points: WeightedPoints, levels: number, initial: "quantile" | "uniform" | Float32Array): Float64Array {
  const { minimum, maximum } = histogram;
  if (initial instanceof Float32Array) {
    checkLength("fitLloyd: initial", initial, levels);
    checkLevels(initial);
    return Float64Array.from(initial);
  }
  if (initial === "uniform") return Float64Array.from({ length: levels }, (_, i) => minimum + ((i + 0.5) / levels) * (maximum - minimum));
  check(initial === "quantile", "fitLloyd: initial", "quantile, uniform or levels", initial);
  const total = points.sum0[points.count]!;
  const quantiles: number[] = [];
  for (let level = 0, point = 0; level < levels; level++) {
    while (point < points.count - 1 && points.sum0[point + 1]! < ((level + 0.5) / levels) * total) point++;
    if (quantiles.at(-1) !== points.value[point]!) quantiles.push(points.value[point]!);
  }
  return Float64Array.from(addUnusedLevels(quantiles, levels, histogram));
}
