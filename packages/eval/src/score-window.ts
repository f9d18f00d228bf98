/** Scores the hidden states of several caches against the reference's, sharing the reference's distributions. */

import type { EvaluationModel } from "./evaluation-model.js";
import { compareRow, createReferenceBlock } from "./metrics/index.js";
import type { ReferenceBlock, RowComparison, TokenScores } from "./metrics/index.js";

/** Rows scored at once: 128 rows of a vocabulary of 49,152 are 25 MB, twice for the reference and once for the cache. */
export const SCORED_ROWS = 128;

/** What takes scores in, token by token. */
export type ScoreSink = Pick<TokenScores, "add" | "endWindow">;

/** One cache's share of a window. */
export interface ScoredRun {
  /** `[window, width]`; the reference's own array stands for the fp16 cache, which is not compared with itself. */
  readonly hidden: Float32Array;
  readonly scores: ScoreSink;
  /** Told the seconds spent on this run's distributions. */
  readonly onSeconds: (seconds: number) => void;
}

/** Scores windows with buffers that are kept from one to the next. */
export interface WindowScorer {
  /** Adds the scores of all positions but the first: row i predicts token i + 1. `beforeBlock` may throw to stop. */
  score(window: Int32Array, reference: Float32Array, runs: readonly ScoredRun[], beforeBlock?: () => void): Promise<void>;
}

/** A scorer for the model's vocabulary. */
export function createWindowScorer(model: EvaluationModel): WindowScorer {
  const { vocabulary, width } = model.config;
  let block: ReferenceBlock | undefined;
  const comparison: RowComparison = { divergence: 0, agrees: true };
  return {
    async score(window, reference, runs, beforeBlock) {
      block ??= createReferenceBlock(Math.min(SCORED_ROWS, window.length - 1), vocabulary);
      for (let start = 0; start < window.length - 1; start += SCORED_ROWS) {
        beforeBlock?.();
        const rows = Math.min(SCORED_ROWS, window.length - 1 - start);
        const part = (hidden: Float32Array): Float32Array => hidden.subarray(start * width, (start + rows) * width);
        block.fill(await model.logProbabilities(part(reference), rows), rows);
        for (const run of runs) {
          const began = performance.now();
          const own = run.hidden === reference ? undefined : await model.logProbabilities(part(run.hidden), rows);
          scoreRows(block, own, { window, start, rows, vocabulary }, run.scores, comparison);
          run.onSeconds((performance.now() - began) / 1000);
        }
      }
      for (const run of runs) run.scores.endWindow();
    },
  };
}

interface Range {
  readonly window: Int32Array;
  readonly start: number;
  readonly rows: number;
  readonly vocabulary: number;
}

function scoreRows(block: ReferenceBlock, own: Float32Array | undefined, range: Range, scores: ScoreSink, comparison: RowComparison): void {
  const { window, start, rows, vocabulary } = range;
  for (let row = 0; row < rows; row++) {
    const target = row * vocabulary + window[start + row + 1]!;
    const referenceNegativeLogLikelihood = -block.logProbabilities[target]!;
    if (own === undefined) {
      scores.add({ divergence: 0, agrees: true, negativeLogLikelihood: referenceNegativeLogLikelihood, referenceNegativeLogLikelihood });
      continue;
    }
    const { divergence, agrees } = compareRow(block, own, row, comparison);
    scores.add({ divergence, agrees, negativeLogLikelihood: -own[target]!, referenceNegativeLogLikelihood });
  }
}
