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
    /** Hands the rows from `skip` on to `use` before anyone else can compute into the same buffer. */
    const run = async (cache: KvCache, part: Int32Array, { skip, use }: { readonly skip: number; readonly use: (rows: Float32Array) => void }): Promise<void> => {
      throwIfAborted(signal);
      const hidden = await model.forward(part, cache, { signal });
      throwIfAborted(signal);
      if (skip < part.length) use(await model.logProbabilities(hidden.subarray(skip * width), part.length - skip));
    };
    const compare = (rows: Float32Array): void => {
      for (let row = 0; row < block.rows; row++) {
        compareRow(block, rows, row, comparison);
        score.kldSum += comparison.divergence;
        score.kldMax = Math.max(score.kldMax, comparison.divergence);
        score.agreeing += comparison.agrees ? 1 : 0;
        score.positions++;
      }
    };
    for (let start = 0; start < tokens.length; start += passTokens) {
      const part = tokens.subarray(start, start + passTokens);
      const skip = Math.max(0, first - start);
      await run(exact, part, { skip, use: (rows) => block.fill(rows, part.length - skip) });
      await run(served, part, { skip, use: compare });
    }
    return score;
  };
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new KvquantError("CANCELLED", "fidelity: a request came");
}
