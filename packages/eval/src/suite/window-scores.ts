/** The scores of one window, token by token: what every figure of the window parts is made from. */

import type { ScoreSink } from "../score-window.js";
import { packNumbers, unpackBytes, unpackFloat32, unpackFloat64 } from "./pack-numbers.js";

/** Row i is about predicting token i + 1; `[length - 1]` each. */
export interface WindowScores {
  /** KL(fp16 || cache), nats. */
  readonly divergence: Float64Array;
  readonly agrees: Uint8Array;
  /** -log p of the true next token. */
  readonly negativeLogLikelihood: Float32Array;
  readonly referenceNegativeLogLikelihood: Float32Array;
}

/** The same in JSON. */
export type PackedScores = { readonly [Name in keyof WindowScores]: string };

/** Takes in the `rows` scores of one window. */
export function createScoreRecorder(rows: number): ScoreSink & { readonly scores: WindowScores } {
  const scores = { divergence: new Float64Array(rows), agrees: new Uint8Array(rows), negativeLogLikelihood: new Float32Array(rows), referenceNegativeLogLikelihood: new Float32Array(rows) };
  let row = 0;
  return {
    scores,
    add(score) {
      scores.divergence[row] = score.divergence;
      scores.agrees[row] = score.agrees ? 1 : 0;
      scores.negativeLogLikelihood[row] = score.negativeLogLikelihood;
      scores.referenceNegativeLogLikelihood[row] = score.referenceNegativeLogLikelihood;
      row++;
    },
    endWindow() {},
  };
}

/** Scores to JSON. */
export function packScores(scores: WindowScores): PackedScores {
  return {
    divergence: packNumbers(scores.divergence),
    agrees: packNumbers(scores.agrees),
    negativeLogLikelihood: packNumbers(scores.negativeLogLikelihood),
    referenceNegativeLogLikelihood: packNumbers(scores.referenceNegativeLogLikelihood),
  };
}

/** Scores from JSON. */
export function unpackScores(packed: PackedScores): WindowScores {
  return {
    divergence: unpackFloat64(packed.divergence),
    agrees: unpackBytes(packed.agrees),
    negativeLogLikelihood: unpackFloat32(packed.negativeLogLikelihood),
    referenceNegativeLogLikelihood: unpackFloat32(packed.referenceNegativeLogLikelihood),
  };
}
