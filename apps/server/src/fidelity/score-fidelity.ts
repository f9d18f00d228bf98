/** Compares a model's compressed cache with an fp16 one on a given sequence. */

import { compareRow, createReferenceBlock } from "@kvquant/eval/metrics";
import type { KvCache } from "@kvquant/cache";
import type { LanguageModel, ModelCacheOptions } from "@kvquant/model";
import { KvquantError } from "@kvquant/spec";
import type { ScoreFidelity } from "./fidelity-monitor.js";

/** Tokens of one call: a request that comes meanwhile waits for no more than this. */
const passTokens = 32;

/**
 * Scores the last `positions` next-token distributions of a sequence, teacher forced: both caches see the same tokens, and every query sees of
 * the compressed cache what it saw when the request was served, since what is compressed depends on positions alone.
 * @param compressed how the served caches are made
 */
export function createFidelityScorer(model: LanguageModel, options: { readonly compressed: ModelCacheOptions; readonly positions: number }): ScoreFidelity {
  const { width, vocabulary } = model.config;
  return async (tokens, signal) => {
    const first = Math.max(0, tokens.length - options.positions);
    using exact = model.createCache({ artifact: "fp16", sinkTokens: options.compressed.sinkTokens, tailTokens: options.compressed.tailTokens });
    using served = model.createCache(options.compressed);
    const block = createReferenceBlock(passTokens, vocabulary);
    const comparison = { divergence: 0, agrees: false };
    const score = { kldSum: 0, kldMax: 0, agreeing: 0, positions: 0 };
    const rowsOf = async (cache: KvCache, part: Int32Array, skip: number): Promise<Float32Array | undefined> => {
      throwIfAborted(signal);
      const hidden = await model.forward(part, cache, { signal });
      throwIfAborted(signal);
      return skip >= part.length ? undefined : model.logProbabilities(hidden.subarray(skip * width), part.length - skip);
    };
    for (let start = 0; start < tokens.length; start += passTokens) {
      const part = tokens.subarray(start, start + passTokens);
      const skip = Math.max(0, first - start);
      // The rows are a buffer that the next call reuses: they are copied into the block before it.
      const reference = await rowsOf(exact, part, skip);
      if (reference !== undefined) block.fill(reference, part.length - skip);
      const other = await rowsOf(served, part, skip);
      if (other === undefined) continue;
      for (let row = 0; row < block.rows; row++) {
        compareRow(block, other, row, comparison);
        score.kldSum += comparison.divergence;
        score.kldMax = Math.max(score.kldMax, comparison.divergence);
        score.agreeing += comparison.agrees ? 1 : 0;
        score.positions++;
      }
    }
    return score;
  };
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new KvquantError("CANCELLED", "fidelity: a request came");
}
