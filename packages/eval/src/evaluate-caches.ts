/** Perplexity and KL divergence of compressed caches against the same engine's fp16 cache. */

import { check, checkInteger } from "@kvquant/spec";
import { averageMeasurements } from "./cache-measurement.js";
import type { CacheMeasurement } from "./cache-measurement.js";
import type { EvaluatedCache } from "./evaluated-cache.js";
import { windowStart } from "./evaluation-model.js";
import type { EvaluationModel } from "./evaluation-model.js";
import type { EvaluationReport, EvaluationRow } from "./evaluation-report.js";
import { fingerprintTokens } from "./fingerprint-tokens.js";
import { createTokenScores } from "./metrics/index.js";
import type { TokenScores } from "./metrics/index.js";
import { openReferenceStore } from "./reference-store.js";
import { SCORED_ROWS, createWindowScorer } from "./score-window.js";
import { throwIfCancelled } from "./throw-if-cancelled.js";
import { openWindowCache, passCache, passReference } from "./window-pass.js";
import { cutWindows } from "./windows.js";

/** Where an evaluation stands. */
export interface EvaluationProgress {
  /** `reference`: the fp16 forward pass; `forward`: a cache's; `score`: comparing all of a window. */
  readonly stage: "reference" | "forward" | "score";
  /** Name of the cache; all of them for `score`. */
  readonly cache: string;
  readonly tail: number | undefined;
  /** 1-based, of `windows`. */
  readonly window: number;
  readonly windows: number;
  /** Steps done of the whole evaluation: layers of forward passes and blocks of scoring. */
  readonly done: number;
  readonly total: number;
}

/** What to evaluate, and on what. */
export interface EvaluationOptions {
  readonly caches: readonly EvaluatedCache[];
  /** Tokens of the text, without special ones. */
  readonly tokens: ArrayLike<number>;
  /** Tokens of a window. */
  readonly context: number;
  /** At most this many windows; default all that the text fills. */
  readonly windows?: number | undefined;
  /** Newest tokens kept exact; several give rows for each. 0 is the evaluation-only protocol without a tail. Default `[64]`. */
  readonly tails?: readonly number[] | undefined;
  /** Keeps fp16 results here, so that they are computed once. */
  readonly referenceFolder?: string | undefined;
  /** Also states each cache's bytes at this length. */
  readonly bytesAtTokens?: number | undefined;
  readonly onProgress?: ((progress: EvaluationProgress) => void) | undefined;
  /** Told in a sentence of what a user should know, such as stored results found damaged. */
  readonly onNotice?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Evaluates caches on the same windows. The fp16 forward pass of a window runs once, or is read from `referenceFolder`; each cache's
 * forward pass follows the position rule of generation, or quantizes every position after the sinks when the tail is 0.
 * @throws INVALID_ARGUMENT for a text shorter than a window, no caches, or a context beyond the model's
 * @throws MODEL_MISMATCH for an artifact of another model
 * @throws CORRUPT_DATA for NaN in activations; CANCELLED
 */
export async function evaluateCaches(model: EvaluationModel, options: EvaluationOptions): Promise<EvaluationReport> {
  const { caches, context, tails = [64], signal } = options;
  check(caches.length > 0, "caches", "at least one", "none");
  check(tails.length > 0, "tails", "at least one", "none");
  for (const tail of tails) checkInteger("tail", tail, { minimum: 0 });
  if (options.bytesAtTokens !== undefined) checkInteger("bytesAtTokens", options.bytesAtTokens, { minimum: 1 });
  const bos = windowStart(model.tokenizer);
  const windows = cutWindows(options.tokens, { length: context, count: options.windows, bos });
  const runs = tails.flatMap((tail) => caches.map((cache) => createRun(cache, tail)));
  for (const run of runs) openWindowCache(model, run.cache, run.tail).dispose(); // Refuses a wrong artifact before any work is done.

  const store = options.referenceFolder === undefined ? undefined : openReferenceStore(options.referenceFolder, options.onNotice);
  const scorer = createWindowScorer(model);
  const progress = createProgress(options, { layers: model.config.layers, forwards: 1 + runs.filter(isCompressed).length, windows: windows.length });
  for (const [index, window] of windows.entries()) {
    const step = (stage: EvaluationProgress["stage"], run?: Run) => progress.step(stage, index + 1, run);
    const reference = await passReference(model, window, { store, signal, onStep: step("reference"), onSkip: () => progress.skipForward() });
    const hidden: Float32Array[] = [];
    for (const run of runs) {
      const pass = await passCache(model, run.cache, { window, tail: run.tail, reference, bytesAtTokens: options.bytesAtTokens, signal, onStep: step("forward", run) });
      hidden.push(pass.hidden);
      run.seconds += pass.seconds;
      run.measurements.push(pass.measurement);
    }
    const scored = runs.map((run, position) => ({ hidden: hidden[position]!, scores: run.scores, onSeconds: (seconds: number) => void (isCompressed(run) && (run.seconds += seconds)) }));
    const onBlock = step("score");
    await scorer.score(window, reference.hidden, scored, () => {
      throwIfCancelled(signal, "evaluation");
      onBlock();
    });
  }
  return {
    model: model.name,
    engine: model.engine,
    protocol: {
      context,
      windows: windows.length,
      textFingerprint: fingerprintTokens(windows),
      beginningOfText: bos !== undefined,
      tails,
      scored: "every position after the first",
      reference: "fp16 cache, same engine",
      errors: "batch means of 64 tokens",
    },
    rows: runs.map((run) => finishRun(run, windows.length)),
  };
}

/** One row in the making. */
interface Run {
  readonly cache: EvaluatedCache;
  readonly tail: number;
  readonly scores: TokenScores;
  seconds: number;
  readonly measurements: CacheMeasurement[];
}

function createRun(cache: EvaluatedCache, tail: number): Run {
  return { cache, tail, scores: createTokenScores(), seconds: 0, measurements: [] };
}

function isCompressed(run: Run): boolean {
  return run.cache.artifact !== "fp16";
}

function finishRun(run: Run, windows: number): EvaluationRow {
  const { artifact, name } = run.cache;
  return {
    cache: name,
    tail: run.tail,
    sinkTokens: artifact === "fp16" ? 0 : artifact.sinkTokens,
    ...averageMeasurements(run.measurements),
    ...run.scores.summarize(),
    secondsPerWindow: run.seconds / windows,
  };
}

function createProgress(options: EvaluationOptions, sizes: { layers: number; forwards: number; windows: number }) {
  const blocks = Math.ceil((options.context - 1) / SCORED_ROWS);
  const total = sizes.windows * (sizes.forwards * sizes.layers + blocks);
  let done = 0;
  return {
    skipForward() {
      done += sizes.layers;
    },
    /** A function that reports one more step each time it is called. */
    step(stage: EvaluationProgress["stage"], window: number, run?: Run): () => void {
      const cache = run?.cache.name ?? (stage === "reference" ? "fp16" : "all");
      return () => {
        done++;
        options.onProgress?.({ stage, cache, tail: run?.tail, window, windows: sizes.windows, done, total });
      };
    },
  };
}
