/** Steps of greedy decoding over a cache. */

import type { KvCache } from "@kvquant/cache";
import { checkNumbers } from "../check-numbers.js";
import type { SuiteModel } from "./suite-model.js";

/** How a step is run. */
export interface DecodeOptions {
  readonly signal: AbortSignal | undefined;
  readonly onStep?: (() => void) | undefined;
}

/** Feeds tokens and returns the final hidden state `[width]` of the last one. @throws CORRUPT_DATA for NaN; CANCELLED */
export async function feed(model: SuiteModel, cache: KvCache, tokens: ArrayLike<number>, { signal, onStep }: DecodeOptions): Promise<Float32Array> {
  const { width } = model.config;
  const hidden = await model.forward(tokens, cache, { signal, onLayer: onStep });
  const last = hidden.slice((tokens.length - 1) * width, tokens.length * width);
  checkNumbers(`hidden states of ${model.name}`, last, width);
  return last;
}

/** The most likely next token after a hidden state, the lowest id among equals. */
export async function mostLikely(model: SuiteModel, hidden: Float32Array): Promise<number> {
  const scores = await model.logProbabilities(hidden, 1);
  let best = 0;
  for (let token = 1; token < model.config.vocabulary; token++) if (scores[token]! > scores[best]!) best = token;
  return best;
}
