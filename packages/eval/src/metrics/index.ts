/** KL divergence, perplexity and their errors. Depends on nothing. */

export { bootstrapQuantiles } from "./bootstrap-quantiles.js";
export type { BootstrapOptions } from "./bootstrap-quantiles.js";
export { exponentiate } from "./exponentiate.js";
export { klDivergence } from "./kl-divergence.js";
export { createPairedPerplexity } from "./paired-perplexity.js";
export type { PairedPerplexity } from "./paired-perplexity.js";
export { quantile, quantileOfSorted } from "./quantile.js";
export { compareRow, createReferenceBlock } from "./reference-block.js";
export type { ReferenceBlock, RowComparison } from "./reference-block.js";
export { BATCH_VALUES, createRunningMean } from "./running-mean.js";
export type { RunningMean } from "./running-mean.js";
export { createTokenScores } from "./token-scores.js";
export type { ScoreSummary, TokenScore, TokenScores } from "./token-scores.js";
export { NORMAL_95, wilsonInterval } from "./wilson-interval.js";
export type { Interval } from "./wilson-interval.js";
