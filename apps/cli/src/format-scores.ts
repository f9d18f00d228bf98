/** The scores of a row of an evaluation, as cells of a table. */

import type { EvaluationRow } from "@kvquant/eval";
import { formatChange, formatOptional, formatShare, formatSmall } from "./format.js";

/** Titles of {@link formatScores}; `+-` is one standard error of the figure before it. */
export const SCORE_TITLES = ["perplexity", "change", "+-", "KL mean", "+-", "KL median", "KL 99.9%", "top-1", "tokens", "s/window"] as const;

/** Perplexity, divergence, agreement and seconds. */
export function formatScores(row: Omit<EvaluationRow, "tail">): readonly string[] {
  return [
    row.perplexity.toFixed(3),
    formatChange(row.deltaPerplexity),
    formatOptional(row.deltaPerplexityError, (error) => error.toFixed(3)),
    formatSmall(row.kldMean),
    formatOptional(row.kldError, formatSmall),
    formatSmall(row.kldMedian),
    formatSmall(row.kld999),
    formatShare(row.top1),
    String(row.tokensScored),
    row.secondsPerWindow.toFixed(1),
  ];
}
