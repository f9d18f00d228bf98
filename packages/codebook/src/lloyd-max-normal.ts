/** The best levels for normally distributed values. */

import { checkInteger } from "@kvquant/spec";
import type { Bits } from "@kvquant/spec";
import { normalDensity, normalQuantile, normalUpperTail } from "./normal-distribution.js";

/**
 * 2^bits levels with the least mean squared error for N(0, 1), symmetric, `[2^bits]`; computed to 1e-12, then rounded to fp32. Not in [-1, 1]: divide
 * by the range wanted.
 * Source: Max 1960, "Quantizing for minimum distortion", table I.
 * @throws INVALID_ARGUMENT for bits outside 1 .. 8
 */
export function lloydMaxNormal(bits: Bits): Float32Array {
  const positive = positiveLloydMaxLevels(bits);
  const half = positive.length;
  return Float32Array.from({ length: 2 * half }, (_, i) => (i < half ? -positive[half - 1 - i]! : positive[i - half]!));
}

/**
 * The positive half of the levels in float64, increasing `[2^(bits-1)]`. Each level must be the mean of its cell; Newton's iteration solves these
 * equations, whose matrix is tridiagonal, from the quantiles of N(0, 3), the optimum for many levels (Panter & Dite 1951).
 */
export function positiveLloydMaxLevels(bits: Bits): Float64Array {
  checkInteger("bits", bits, { minimum: 1, maximum: 8 });
  const count = 2 ** (bits - 1);
  const levels = Float64Array.from({ length: count }, (_, i) => Math.sqrt(3) * normalQuantile(0.5 + (i + 0.5) / (2 * count)));
  for (let iteration = 0; iteration < 100; iteration++) {
    if (newtonStep(levels) < 1e-13) break;
  }
  return levels;
}

/** One Newton step on `level - mean of its cell = 0`; returns the largest change. */
function newtonStep(levels: Float64Array): number {
  const count = levels.length;
  /** After elimination row i reads `step[i] + upper[i] * step[i + 1] = right[i]`. */
  const upper = new Float64Array(count);
  const right = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const low = i === 0 ? 0 : (levels[i - 1]! + levels[i]!) / 2;
    const high = i === count - 1 ? Infinity : (levels[i]! + levels[i + 1]!) / 2;
    const lowDensity = normalDensity(low);
    const highDensity = normalDensity(high);
    const mass = normalUpperTail(low) - (high === Infinity ? 0 : normalUpperTail(high));
    const mean = (lowDensity - highDensity) / mass;
    // Half of the mean's derivative by each end of the cell, the ends being midpoints; the end at 0 is fixed.
    const byLow = i === 0 ? 0 : (lowDensity * (mean - low)) / mass / 2;
    const byHigh = high === Infinity ? 0 : (highDensity * (high - mean)) / mass / 2;
    const pivot = 1 - byLow - byHigh + (i === 0 ? 0 : byLow * upper[i - 1]!);
    upper[i] = -byHigh / pivot;
    right[i] = (mean - levels[i]! + (i === 0 ? 0 : byLow * right[i - 1]!)) / pivot;
  }
  let largest = 0;
  for (let i = count - 1, step = 0; i >= 0; i--) {
    step = right[i]! - upper[i]! * step;
    levels[i]! += step;
    largest = Math.max(largest, Math.abs(step));
  }
  return largest;
}
