/** Runs the rows of a step: all sequences together, or one after another. */

import type { KvCache } from "@kvquant/cache";
import { NativeEngine } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";

/** Tokens that extend one cache. */
export interface StepItem {
  readonly cache: KvCache;
  readonly tokens: readonly number[];
  /** Whether the logits of the last token are wanted. */
  readonly logits: boolean;
}

/** What became of one item: logits `[vocabulary]` where wanted, or the error that left its cache as it was. */
export type StepOutcome = { readonly logits: Float32Array | undefined } | { readonly error: unknown };

/** Runs steps over caches of one kind. */
export interface StepRunner {
  readonly path: "batched" | "sequential";
  /** One outcome for each item; an error of one item leaves the others alone. */
  run(items: readonly StepItem[], signal: AbortSignal): Promise<StepOutcome[]>;
}

/** The runner for caches like `pattern`. */
export function createStepRunner(model: LanguageModel, pattern: KvCache): StepRunner {
  const { runner } = model;
  return runner instanceof NativeEngine && runner.batches(pattern) ? batchedRunner(runner) : sequentialRunner(model);
}

function batchedRunner(engine: NativeEngine): StepRunner {
  const { vocabulary } = engine.config;
  const batch = async (items: readonly StepItem[], signal: AbortSignal): Promise<StepOutcome[]> => {
    const logits = await engine.step(items, { signal });
    let row = 0;
    return items.map((item) => ({ logits: item.logits ? logits.subarray(row * vocabulary, ++row * vocabulary) : undefined }));
  };
  return {
    path: "batched",
    async run(items, signal) {
      try {
        return await batch(items, signal);
      } catch (error) {
        if (items.length === 1 || signal.aborted) return items.map(() => ({ error }));
      }
      // Some sequence spoiled the step, and every cache is as it was: each alone tells which.
      const outcomes: StepOutcome[] = [];
      for (const item of items) outcomes.push(...(await batch([item], signal).catch((error: unknown) => [{ error }])));
      return outcomes;
    },
  };
}

function sequentialRunner(model: LanguageModel): StepRunner {
  const { width } = model.config;
  const one = async ({ cache, tokens, logits }: StepItem, signal: AbortSignal): Promise<StepOutcome> => {
    try {
      const hidden = await model.forward(tokens, cache, { signal });
      // The model reuses the buffer.
      return { logits: logits ? (await model.logits(hidden.subarray(hidden.length - width), 1)).slice() : undefined };
    } catch (error) {
      return { error };
    }
  };
  return {
    path: "sequential",
    async run(items, signal) {
      const outcomes: StepOutcome[] = [];
      for (const item of items) outcomes.push(await one(item, signal));
      return outcomes;
    },
  };
}
