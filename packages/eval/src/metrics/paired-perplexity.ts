/** Perplexity of one run beside that of a reference on the same tokens. */

import { BATCH_VALUES, createRunningMean } from "./running-mean.js";

/** Accumulates the negative log-likelihoods of the same tokens under two runs. */
export interface PairedPerplexity {
  readonly count: number;
  /** exp of the mean negative log-likelihood. */
  readonly perplexity: number;
  readonly referencePerplexity: number;
  /** Delta method, batch means: perplexity times the standard error of the mean negative log-likelihood. Undefined below two batches. */
  readonly perplexityError: number | undefined;
  /** `perplexity - referencePerplexity` */
  readonly deltaPerplexity: number;
  /**
   * Standard error of `deltaPerplexity`: delta method on the pairs, batch means. To first order delta moves by the mean of
   * `perplexity * nll - referencePerplexity * referenceNll`, whose scatter is taken pair by pair, so that what both runs share cancels.
   * Undefined below two batches.
   */
  readonly deltaPerplexityError: number | undefined;
  /** Adds one token, natural logarithms: `-log p(token)` under the run and under the reference. */
  add(negativeLogLikelihood: number, referenceNegativeLogLikelihood: number): void;
  /** Closes the batch under way, so that none spans two windows. */
  endBatch(): void;
}

/** An empty accumulator; `batchValues` neighbouring tokens make a batch (default 64). Keeps one sum pair a batch. */
export function createPairedPerplexity(batchValues: number = BATCH_VALUES): PairedPerplexity {
  const own = createRunningMean(batchValues);
  const reference = createRunningMean(batchValues);
  const batches: { own: number; reference: number; count: number }[] = [];
  let open = { own: 0, reference: 0, count: 0 };
  const endBatch = (): void => {
    if (open.count === 0) return;
    batches.push(open);
    open = { own: 0, reference: 0, count: 0 };
    own.endBatch();
    reference.endBatch();
  };
  const self: PairedPerplexity = {
    get count() {
      return own.count;
    },
    get perplexity() {
      return Math.exp(own.mean);
    },
    get referencePerplexity() {
      return Math.exp(reference.mean);
    },
    get perplexityError() {
      const error = own.batchStandardError;
      return error === undefined ? undefined : Math.exp(own.mean) * error;
    },
    get deltaPerplexity() {
      // exp(a) - exp(b) without the cancellation of two close numbers.
      return Math.exp(reference.mean) * Math.expm1(own.mean - reference.mean);
    },
    get deltaPerplexityError() {
      const all = open.count > 0 ? [...batches, open] : batches;
      if (all.length < 2) return undefined;
      let spread = 0;
      for (const batch of all) {
        const ownShift = self.perplexity * (batch.own - batch.count * own.mean);
        spread += (ownShift - self.referencePerplexity * (batch.reference - batch.count * reference.mean)) ** 2;
      }
      return Math.sqrt((all.length / (all.length - 1)) * spread) / own.count;
    },
    add(negativeLogLikelihood, referenceNegativeLogLikelihood) {
      own.add(negativeLogLikelihood);
      reference.add(referenceNegativeLogLikelihood);
      open.own += negativeLogLikelihood;
      open.reference += referenceNegativeLogLikelihood;
      if (++open.count === batchValues) endBatch();
    },
    endBatch,
  };
  return self;
}
