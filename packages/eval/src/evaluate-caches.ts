/** Perplexity and KL divergence of compressed caches against the same engine's fp16 cache. */

import type { KvCache } from "@kvquant/cache";
import type { KvqArtifact } from "@kvquant/quant";
import { check, checkInteger } from "@kvquant/spec";
import { averageMeasurements, measureCache, measureExactCache } from "./cache-measurement.js";
import type { CacheMeasurement } from "./cache-measurement.js";
import { checkNumbers } from "./check-numbers.js";
import { windowStart } from "./evaluation-model.js";
import type { EvaluationModel } from "./evaluation-model.js";
import type { EvaluationReport, EvaluationRow } from "./evaluation-report.js";
import { fingerprintTokens } from "./fingerprint-tokens.js";
import { createTokenScores } from "./metrics/index.js";
import type { TokenScores } from "./metrics/index.js";
import { openReferenceStore } from "./reference-store.js";
import type { ReferenceResult, ReferenceStore } from "./reference-store.js";
import { SCORED_ROWS, createWindowScorer } from "./score-window.js";
import { throwIfCancelled } from "./throw-if-cancelled.js";
import { cutWindows } from "./windows.js";

/** A cache to evaluate, under the name reports give it. */
export interface EvaluatedCache {
  readonly name: string;
  readonly artifact: KvqArtifact | "fp16";
}

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
  for (const run of runs) openCache(model, run).dispose(); // Refuses a wrong artifact before any work is done.

  const store = options.referenceFolder === undefined ? undefined : openReferenceStore(options.referenceFolder, options.onNotice);
  const scorer = createWindowScorer(model);
  const progress = createProgress(options, { layers: model.config.layers, forwards: 1 + runs.filter(isCompressed).length, windows: windows.length });
  for (const [index, window] of windows.entries()) {
    const step = (stage: EvaluationProgress["stage"], run?: Run) => progress.step(stage, index + 1, run);
    const reference = await referenceOf(model, window, { store, signal, onStep: step("reference"), onSkip: () => progress.skipForward() });
    const hidden: Float32Array[] = [];
    for (const run of runs) hidden.push(await forwardRun(model, run, window, { reference, options, onStep: step("forward", run) }));
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

function openCache(model: EvaluationModel, { cache: { artifact }, tail }: Pick<Run, "cache" | "tail">): KvCache {
  return model.createCache(artifact === "fp16" ? { artifact } : { artifact, tailTokens: tail, quantizeOpenPage: tail === 0 });
}

interface ReferenceOptions {
  readonly store: ReferenceStore | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onStep: () => void;
  /** Called instead of the steps when the result was stored. */
  readonly onSkip: () => void;
}

async function referenceOf(model: EvaluationModel, window: Int32Array, { store, signal, onStep, onSkip }: ReferenceOptions): Promise<ReferenceResult> {
  throwIfCancelled(signal, "evaluation");
  const key = { fingerprint: model.fingerprint, engine: model.engine, window, width: model.config.width };
  const stored = await store?.read(key);
  if (stored !== undefined) {
    onSkip();
    return stored;
  }
  // On tiles keys are rounded to fp16 before RoPE, as compressed caches see them; the native fp16 pages round them after it.
  const cache = model.createCache({ artifact: "fp16", attention: "tiles" });
  try {
    const began = performance.now();
    const hidden = await model.forward(window, cache, { signal, onLayer: onStep });
    checkNumbers(`hidden states of ${model.name} with the fp16 cache`, hidden, model.config.width);
    const result = { hidden, seconds: (performance.now() - began) / 1000 };
    await store?.write(key, result);
    return result;
  } finally {
    cache.dispose();
  }
}

interface ForwardRunOptions {
  readonly reference: ReferenceResult;
  readonly options: EvaluationOptions;
  readonly onStep: () => void;
}

/** The hidden states of a window through the run's cache; notes seconds and sizes. */
async function forwardRun(model: EvaluationModel, run: Run, window: Int32Array, { reference, options, onStep }: ForwardRunOptions): Promise<Float32Array> {
  throwIfCancelled(options.signal, "evaluation");
  const { artifact, name } = run.cache;
  const cache = openCache(model, run);
  try {
    if (artifact === "fp16") {
      run.seconds += reference.seconds;
      run.measurements.push(measureExactCache(cache, window.length, options.bytesAtTokens));
      return reference.hidden;
    }
    const began = performance.now();
    const hidden = await model.forward(window, cache, { signal: options.signal, onLayer: onStep });
    run.seconds += (performance.now() - began) / 1000;
    checkNumbers(`hidden states of ${model.name} with cache ${name}`, hidden, model.config.width);
    run.measurements.push(measureCache(cache, { sinkTokens: artifact.sinkTokens, tailTokens: run.tail, bytesAtTokens: options.bytesAtTokens }));
    return hidden;
  } finally {
    cache.dispose();
  }
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
