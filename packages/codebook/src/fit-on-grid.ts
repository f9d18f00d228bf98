/** The best levels for a histogram among those a kernel can hold. */

import type { WeightedHistogram } from "./histogram.js";
import { checkGrid, GRID_STEPS } from "./grid.js";
import { collectPoints } from "./weighted-points.js";
import type { WeightedPoints } from "./weighted-points.js";

/** The costs between all pairs of grid points are held at once: 134 MB for 2,048 steps. */
const MAXIMUM_STEPS = 2048;

/**
 * Levels `[levels]`, strictly increasing, out of k/steps, k = -steps .. steps (fp32), with the least `sum w * (x - nearest level)^2` over the histogram's
 * bin means (a mean on a midpoint belongs to the lower level). Exact: dynamic programming over pairs of neighbouring levels, O(levels * steps^2). Among
 * equally good sets, the highest level is the lowest possible, then the one below it, and so on. When fewer levels reach the same cost, the ones left over go
 * to the free grid points farthest from all others (ties: the lowest).
 * @throws INVALID_ARGUMENT for a histogram without weight, levels outside 1 .. 256, more levels than grid points, or steps outside 1 .. 2,048
 */
export function fitOnGrid(histogram: WeightedHistogram, levels: number, steps = GRID_STEPS): Float32Array {
  checkGrid(levels, steps, MAXIMUM_STEPS);
  const grid = Float32Array.from({ length: 2 * steps + 1 }, (_, k) => (k - steps) / steps);
  const chosen = chooseGridPoints(collectPoints(histogram), grid, levels);
  addFreeGridPoints(chosen, grid.length, levels);
  return Float32Array.from(chosen, (k) => grid[k]!);
}

/** Indices of the best grid points, increasing; as few of at most `levels` as reach the least cost. */
function chooseGridPoints(points: WeightedPoints, grid: Float32Array, levels: number): number[] {
  const size = grid.length;
  const { low, between, high } = gridCosts(points, grid);
  /** Least cost of the points at or below grid point b when b is the highest of the levels so far. */
  let cost = low;
  let best = { cost: Infinity, levels: 0, top: 0 };
  /** previous[l * size + b]: the level below b when b is level l. */
  const previous = new Int16Array(levels * size);
  for (let level = 0; level < levels; level++) {
    if (level > 0) {
      const next = new Float64Array(size).fill(Infinity);
      for (let b = level; b < size; b++) {
        for (let a = level - 1; a < b; a++) {
          const candidate = cost[a]! + between[a * size + b]!;
          if (candidate < next[b]!) {
            next[b] = candidate;
            previous[level * size + b] = a;
          }
        }
      }
      cost = next;
    }
    for (let b = level; b < size; b++) {
      if (cost[b]! + high[b]! < best.cost) best = { cost: cost[b]! + high[b]!, levels: level + 1, top: b };
    }
  }
  const chosen = new Array<number>(best.levels);
  for (let level = best.levels - 1, point = best.top; level >= 0; point = previous[level * size + point]!, level--) chosen[level] = point;
  return chosen;
}

/** Costs of the points up to a lowest level b `[size]`, between neighbouring levels a < b `[size, size]`, and above a highest level b `[size]`. */
function gridCosts(points: WeightedPoints, grid: Float32Array): { low: Float64Array<ArrayBuffer>; between: Float64Array; high: Float64Array } {
  const { count, value } = points;
  const size = grid.length;
  const low = new Float64Array(size);
  const high = new Float64Array(size);
  const between = new Float64Array(size * size);
  /** Number of points at or below each grid point. */
  const below = new Int32Array(size);
  for (let b = 0, i = 0; b < size; b++) {
    while (i < count && value[i]! <= grid[b]!) i++;
    below[b] = i;
    low[b] = costTo(points, 0, i, grid[b]!);
    high[b] = costTo(points, i, count, grid[b]!);
  }
  for (let a = 0; a < size; a++) {
    let i = below[a]!;
    for (let b = a + 1; b < size; b++) {
      const middle = (grid[a]! + grid[b]!) / 2;
      while (i < below[b]! && value[i]! <= middle) i++;
      between[a * size + b] = costTo(points, below[a]!, i, grid[a]!) + costTo(points, i, below[b]!, grid[b]!);
    }
  }
  return { low, between, high };
}

/** Cost of points from .. to-1 against one level. */
function costTo(points: WeightedPoints, from: number, to: number, level: number): number {
  if (from === to) return 0;
  const mass = points.sum0[to]! - points.sum0[from]!;
  const moment = points.sum1[to]! - points.sum1[from]!;
  const square = points.sum2[to]! - points.sum2[from]!;
  const offset = level - points.centre;
  return Math.max(square - 2 * offset * moment + offset * offset * mass, 0);
}

/** Adds grid points to `chosen` until there are `levels`, each time a free one farthest from all chosen (ties: the lowest). */
function addFreeGridPoints(chosen: number[], size: number, levels: number): void {
  while (chosen.length < levels) {
    let farthest = 0;
    let distance = -1;
    for (let k = 0; k < size; k++) {
      const nearest = chosen.reduce((least, point) => Math.min(least, Math.abs(point - k)), Infinity);
      if (nearest > distance) {
        distance = nearest;
        farthest = k;
      }
    }
    chosen.push(farthest);
    chosen.sort((a, b) => a - b);
  }
}
