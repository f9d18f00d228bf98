/** Small rules about sets of levels that every way of making them shares. */

import { check, checkFinite, checkInteger } from "@kvquant/spec";

/** Most levels any codebook has: codes are bytes. */
const MAXIMUM_LEVELS = 256;

/** Throws INVALID_ARGUMENT unless `levels` is an integer from 1 to 256. */
export function checkLevelCount(levels: number): void {
  checkInteger("levels", levels, { minimum: 1, maximum: MAXIMUM_LEVELS });
}

/** Throws INVALID_ARGUMENT unless there are 1 to 256 levels, finite and strictly increasing. */
export function checkLevels(levels: Float32Array): void {
  check(levels.length >= 1 && levels.length <= MAXIMUM_LEVELS, "levels", `1 to ${MAXIMUM_LEVELS} levels`, `${levels.length} levels`);
  checkFinite("levels", levels);
  for (let i = 1; i < levels.length; i++) check(levels[i]! > levels[i - 1]!, `levels[${i}]`, `above level ${levels[i - 1]!}`, levels[i]!);
}

/** Rounds increasing levels to fp32, moving a level that meets the one before it to the next fp32 number: strictly increasing. */
export function roundLevels(levels: ArrayLike<number>): Float32Array {
  const rounded = Float32Array.from(levels);
  for (let i = 1; i < rounded.length; i++) {
    if (rounded[i]! <= rounded[i - 1]!) rounded[i] = nextFloat(rounded[i - 1]!);
  }
  return rounded;
}

/**
 * Adds levels to `used` (increasing, not empty) until there are `count`, each time at the point of [minimum, maximum] farthest from every level
 * so far (ties: the lowest). They cost nothing on the data, and bound the error of values the data did not show.
 */
export function addUnusedLevels(used: readonly number[], count: number, range: { minimum: number; maximum: number }): number[] {
  const levels = [...used];
  while (levels.length < count) {
    let farthest = range.minimum;
    let distance = levels[0]! - range.minimum;
    for (let i = 1; i < levels.length; i++) {
      const half = (levels[i]! - levels[i - 1]!) / 2;
      if (half > distance) {
        distance = half;
        farthest = levels[i - 1]! + half;
      }
    }
    if (range.maximum - levels.at(-1)! > distance) farthest = range.maximum;
    levels.push(farthest);
    levels.sort((a, b) => a - b);
  }
  return levels;
}

function nextFloat(x: number): number {
  const float = new Float32Array([x]);
  const bits = new Int32Array(float.buffer);
  if (x === 0) bits[0] = 1;
  else bits[0]! += x > 0 ? 1 : -1;
  return float[0]!;
}
