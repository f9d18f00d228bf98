/** The grid k/steps, k = -steps .. steps, that kernels keep their levels on. */

import { check, checkFinite, checkInteger } from "@kvquant/spec";
import { checkLevelCount } from "./levels.js";

/** Steps from 0 to 1 of the kernels' grid: levels fit in signed bytes. */
export const GRID_STEPS = 127;

/** Throws INVALID_ARGUMENT unless the grid has 1 to `maximum` steps and `levels` different levels fit on it. */
export function checkGrid(levels: number, steps: number, maximum = 32_767): void {
  checkInteger("grid steps", steps, { minimum: 1, maximum });
  checkLevelCount(levels);
  check(levels <= 2 * steps + 1, "levels", `at most ${2 * steps + 1}, the points of the grid k/${steps}`, levels);
}

/**
 * Moves levels (increasing) to the nearest points k/steps within [-1, 1], ties away from zero. Levels that meet at a point move up, or down at the
 * upper end, by the fewest steps: `[levels]`, strictly increasing.
 * @throws INVALID_ARGUMENT for NaN, infinity, or more levels than grid points
 */
export function snapToGrid(levels: Float32Array, steps = GRID_STEPS): Float32Array {
  checkGrid(levels.length, steps);
  checkFinite("levels", levels);
  const grid = Array.from(levels, (level) => Math.min(Math.max(Math.sign(level) * Math.round(Math.abs(level) * steps), -steps), steps));
  for (let i = 1; i < grid.length; i++) grid[i] = Math.max(grid[i]!, grid[i - 1]! + 1);
  for (let i = grid.length - 1; i >= 0; i--) grid[i] = Math.min(grid[i]!, steps - (grid.length - 1 - i));
  return Float32Array.from(grid, (k) => k / steps);
}
