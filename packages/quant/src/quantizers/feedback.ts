/** Feedback rounding: what it learns. */

import { check } from "@kvquant/spec";
import { choleskyLower, inverseFromCholesky } from "../numeric/cholesky.js";
import { roundToHalves } from "../numeric/half-array.js";

/** Part of the mean diagonal that is added to H's diagonal. */
export const FEEDBACK_DAMPING = 0.1;

/** Feedback of one KV head. */
export interface HeadFeedback {
  /** Channel that is rounded as the r-th `[headDim]`. */
  readonly order: Uint16Array;
  /** `W_jz = U_jz / U_jj` for ranks j < z, row after row `[headDim * (headDim - 1) / 2]`, halves. */
  readonly weights: Float32Array;
}

/**
 * Learns the feedback of one head from `H = sum of g g'` `[headDim, headDim]`, float64: channels by falling H_jj (ties: lower
 * channel), 0.1 * mean(diag H) added to the diagonal, `U'U = inv(H)` with U upper, `W = U_jz / U_jj`. A dead head (H = 0) rounds plainly.
 * Source: GPTQ (Frantar et al. 2022), applied to keys.
 * @throws INVALID_ARGUMENT when H is not finite
 */
export function fitFeedback(matrix: Float64Array, headDim: number): HeadFeedback {
  let trace = 0;
  for (let i = 0; i < headDim; i++) trace += matrix[i * headDim + i]!;
  check(Number.isFinite(trace), "fitFeedback: H", "finite numbers", trace);
  const order = Uint16Array.from({ length: headDim }, (_, channel) => channel);
  const weights = new Float32Array((headDim * (headDim - 1)) / 2);
  if (!(trace > 0)) return { order, weights };

  order.sort((a, b) => matrix[b * headDim + b]! - matrix[a * headDim + a]! || a - b);
  // H scaled to mean diagonal 1: W does not change, and tiny gradients do not underflow.
  const mean = trace / headDim;
  const damped = new Float64Array(headDim * headDim);
  for (let i = 0; i < headDim; i++) {
    for (let j = 0; j < headDim; j++) damped[i * headDim + j] = matrix[order[i]! * headDim + order[j]!]! / mean + (i === j ? FEEDBACK_DAMPING : 0);
  }
  const lower = choleskyLower(damped, headDim);
  const factor = lower && choleskyLower(inverseFromCholesky(lower, headDim), headDim);
  check(factor !== undefined, "fitFeedback: H", "a positive semidefinite matrix", "another");
  // U is the transpose of the lower factor of inv(H), so W_jz = factor[z, j] / factor[j, j].
  let next = 0;
  for (let j = 0; j < headDim; j++) {
    for (let z = j + 1; z < headDim; z++) weights[next++] = factor[z * headDim + j]! / factor[j * headDim + j]!;
  }
  return { order, weights: roundToHalves(weights) };
}

/** The weights as a full matrix with the source rank innermost, `result[z * headDim + j] = W_jz`: what a left-looking loop reads. */
export function feedbackByTarget(weights: Float32Array, headDim: number): Float32Array {
  const byTarget = new Float32Array(headDim * headDim);
  let next = 0;
  for (let j = 0; j < headDim; j++) {
    for (let z = j + 1; z < headDim; z++) byTarget[z * headDim + j] = weights[next++]!;
  }
  return byTarget;
}
