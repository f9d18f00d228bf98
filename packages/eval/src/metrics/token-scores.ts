/** Everything reports say about one cache, accumulated token by token. */

import { createPairedPerplexity } from "./paired-perplexity.js";
import { quantileOfSorted } from "./quantile.js";
import { BATCH_VALUES, createRunningMean } from "./running-mean.js";

/** One scored position. */
export interface TokenScore {
  /** KL(reference || cache), nats. */
  readonly divergence: number;
  /** True when both runs find the same token most likely. */
  readonly agrees: boolean;
  /** -log p of the true next token. */
  readonly negativeLogLikelihood: number;
  readonly referenceNegativeLogLikelihood: number;
}

/** Figures over all tokens so far; errors are by batch means and undefined below two batches. */
export interface ScoreSummary {
  readonly tokensScored: number;
  readonly perplexity: number;
  readonly perplexityError: number | undefined;
  readonly deltaPerplexity: number;
  readonly deltaPerplexityError: number | undefined;
  readonly kldMean: number;
  readonly kldError: number | undefined;
  readonly kldMedian: number;
  /** 99.9% quantile. */
  readonly kld999: number;
  /** Share of positions whose most likely token agrees, 0 to 1. */
  readonly top1: number;
}

/** Accumulator of scores. */
export interface TokenScores {
  add(score: TokenScore): void;
  /** Tells that the next token starts another text, so that no batch spans both. */
  endWindow(): void;
  summarize(): ScoreSummary;
}

/** An empty accumulator; it keeps one number a token, for the quantiles. */
export function createTokenScores(batchValues: number = BATCH_VALUES): TokenScores {
  const divergence = createRunningMean(batchValues);
  const perplexity = createPairedPerplexity(batchValues);
  let divergences = new Float64Array(1024);
  let agreeing = 0;
  return {
    add(score) {
      if (divergence.count === divergences.length) {
        const grown = new Float64Array(2 * divergences.length);
        grown.set(divergences);
        divergences = grown;
      }
      divergences[divergence.count] = score.divergence;
      divergence.add(score.divergence);
      perplexity.add(score.negativeLogLikelihood, score.referenceNegativeLogLikelihood);
      if (score.agrees) agreeing++;
    },
    endWindow() {
      divergence.endBatch();
      perplexity.endBatch();
    },
    summarize() {
      const count = divergence.count;
      const sorted = divergences.slice(0, count).sort();
      return {
        tokensScored: count,
        perplexity: perplexity.perplexity,
        perplexityError: perplexity.perplexityError,
        deltaPerplexity: perplexity.deltaPerplexity,
        deltaPerplexityError: perplexity.deltaPerplexityError,
        kldMean: divergence.mean,
        kldError: divergence.batchStandardError,
        kldMedian: quantileOfSorted(sorted, 0.5),
        kld999: quantileOfSorted(sorted, 0.999),
        top1: count === 0 ? NaN : agreeing / count,
      };
    },
  };
}
