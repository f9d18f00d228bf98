/** Attention sinks of a model, found from its own attention rather than assumed. */

import { check, checkInteger } from "@kvquant/spec";
import type { CalibrationModel } from "./evaluation-model.js";
import { windowStart } from "./evaluation-model.js";
import { throwIfCancelled } from "./throw-if-cancelled.js";
import { cutWindows } from "./windows.js";

/** Where to look for sinks. */
export interface FindSinksOptions {
  /** Tokens of a text, without special ones. */
  readonly tokens: ArrayLike<number>;
  /** At most this many windows, default 2. */
  readonly sequences?: number | undefined;
  /** Tokens of a window, default 1024. */
  readonly length?: number | undefined;
  /** A position is a sink when it receives at least this share of the attention of the queries that see it, default 0.05. */
  readonly minimumShare?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What was found. */
export interface FoundSinks {
  /** Sinks at the beginning, without a gap: what caches can keep exact. */
  readonly sinkTokens: number;
  /**
   * Mean share of attention that each position receives, `[length]`: over the queries from it on, all heads, layers and windows. Shares of the queries at one position sum to 1.
   * The last positions are seen by few queries, and mostly by themselves.
   */
  readonly shares: Float64Array;
  /** Sinks elsewhere, by window and position, largest share first: a cache of pages does not keep these exact. */
  readonly strays: readonly { readonly window: number; readonly position: number; readonly token: number; readonly share: number }[];
}

/** Positions this near to the end are seen by too few queries to be called sinks. */
const UNJUDGED = 64;

/**
 * Finds the tokens that most attention goes to whatever is asked (Xiao et al. 2024, "Efficient Streaming Language Models with Attention Sinks"; found by
 * measuring as in KVSink, Su and Yuan 2025). One forward pass a window.
 * @throws INVALID_ARGUMENT for a text shorter than a window or settings that make no sense; CANCELLED
 */
export async function findSinks(model: CalibrationModel, options: FindSinksOptions): Promise<FoundSinks> {
  const { sequences = 2, length = 1024, minimumShare = 0.05, signal } = options;
  checkInteger("sequences", sequences, { minimum: 1 });
  checkInteger("length", length, { minimum: 2 * UNJUDGED });
  check(minimumShare > 0 && minimumShare <= 1, "minimumShare", "a share above 0 and at most 1", minimumShare);
  const windows = cutWindows(options.tokens, { length, count: sequences, bos: windowStart(model.tokenizer) });
  const shares = new Float64Array(length);
  const strays: { window: number; position: number; token: number; share: number }[] = [];
  for (const [index, window] of windows.entries()) {
    throwIfCancelled(signal, "search for sinks");
    const onProgress = (done: number, total: number): void => options.onProgress?.(index * total + done, windows.length * total);
    const ofWindow = await measureShares(model, window, { signal, onProgress });
    for (let position = 0; position < length; position++) {
      shares[position]! += ofWindow[position]! / windows.length;
      if (position < length - UNJUDGED && ofWindow[position]! >= minimumShare) strays.push({ window: index, position, token: window[position]!, share: ofWindow[position]! });
    }
  }
  let sinkTokens = 0;
  while (sinkTokens < length - UNJUDGED && shares[sinkTokens]! >= minimumShare) sinkTokens++;
  return { sinkTokens, shares, strays: strays.filter(({ position }) => position >= sinkTokens).sort((a, b) => b.share - a.share) };
}

async function measureShares(model: CalibrationModel, window: Int32Array, options: { readonly signal: AbortSignal | undefined; readonly onProgress: (done: number, total: number) => void }): Promise<Float64Array> {
  const { layers, queryHeads, kvHeads } = model.config;
  const received = new Float64Array(window.length);
  await model.captureAttention(window, {
    ...options,
    onLayer({ keyWeights, valueWeights }) {
      // Sums of p - p^2 and of p^2 over the queries and the heads of a group: together, of p.
      for (let index = 0; index < keyWeights.length; index++) received[Math.floor(index / kvHeads)]! += keyWeights[index]! + valueWeights[index]!;
    },
  });
  return received.map((sum, position) => sum / ((window.length - position) * queryHeads * layers));
}
