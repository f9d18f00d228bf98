/** Feedback rounding: what it does to a page. */

import { PAGE_TOKENS } from "@kvquant/spec";
import { feedbackByTarget } from "./feedback.js";

/** Feedback of one head, ready for rounding. */
export interface OpenFeedback {
  /** Channel that is rounded as the r-th `[headDim]`. */
  readonly order: Uint16Array;
  /** `[headDim, headDim]`, see `feedbackByTarget`. */
  readonly byTarget: Float32Array;
}

/** Takes one head out of the arrays of all heads. */
export function openFeedback(feedback: { readonly order: Float32Array; readonly weights: Float32Array }, head: number, headDim: number): OpenFeedback {
  const pairs = (headDim * (headDim - 1)) / 2;
  return {
    order: Uint16Array.from(feedback.order.subarray(head * headDim, (head + 1) * headDim)),
    byTarget: feedbackByTarget(feedback.weights.subarray(head * pairs, (head + 1) * pairs), headDim),
  };
}

/**
 * Subtracts the errors of all ranks before `rank`, times their weights, from one row. Left-looking: each value is loaded and stored once
 * for 8 sources, in the same order of operations as spreading each error at once.
 */
export function subtractFeedback(page: Float32Array, row: number, errors: Float32Array, byTarget: Float32Array, place: { rank: number; headDim: number; tokens: number }): void {
  const { rank, headDim, tokens } = place;
  const weights = rank * headDim;
  let source = 0;
  for (; source + 8 <= rank; source += 8) {
    const w0 = byTarget[weights + source]!;
    const w1 = byTarget[weights + source + 1]!;
    const w2 = byTarget[weights + source + 2]!;
    const w3 = byTarget[weights + source + 3]!;
    const w4 = byTarget[weights + source + 4]!;
    const w5 = byTarget[weights + source + 5]!;
    const w6 = byTarget[weights + source + 6]!;
    const w7 = byTarget[weights + source + 7]!;
    const from = source * PAGE_TOKENS;
    for (let token = 0; token < tokens; token++) {
      let value = page[row + token]!;
      const error = from + token;
      value = Math.fround(value - Math.fround(errors[error]! * w0));
      value = Math.fround(value - Math.fround(errors[error + 64]! * w1));
      value = Math.fround(value - Math.fround(errors[error + 128]! * w2));
      value = Math.fround(value - Math.fround(errors[error + 192]! * w3));
      value = Math.fround(value - Math.fround(errors[error + 256]! * w4));
      value = Math.fround(value - Math.fround(errors[error + 320]! * w5));
      value = Math.fround(value - Math.fround(errors[error + 384]! * w6));
      page[row + token] = value - Math.fround(errors[error + 448]! * w7);
    }
  }
  for (; source < rank; source++) {
    const weight = byTarget[weights + source]!;
    const from = source * PAGE_TOKENS;
    for (let token = 0; token < tokens; token++) page[row + token] = page[row + token]! - Math.fround(errors[from + token]! * weight);
  }
}
