/** The drift part: how a cache leaves fp16's greedy continuations, step by step. */

import type { KvCache } from "@kvquant/cache";
import { check } from "@kvquant/spec";
import { windowStart } from "../evaluation-model.js";
import { fingerprintTokens } from "../fingerprint-tokens.js";
import { compareRow, createReferenceBlock } from "../metrics/index.js";
import { SCORED_ROWS } from "../score-window.js";
import { throwIfCancelled } from "../throw-if-cancelled.js";
import { feed, mostLikely } from "./decode-step.js";
import type { Continuation, ReferenceContinuation } from "./drift-units.js";
import { packNumbers, unpackFloat32 } from "./pack-numbers.js";
import type { SuiteContext } from "./suite-context.js";
import type { SuiteModel } from "./suite-model.js";
import type { SuiteSettings } from "./suite-options.js";
import type { DriftSection } from "./suite-report.js";
import { describeRun, openGenerationCache, runKey } from "./suite-run.js";
import type { SuiteRun } from "./suite-run.js";
import { summarizeDrift } from "./summarize-drift.js";

/** Prompts cut from the text at equal distances. @throws INVALID_ARGUMENT for a text shorter than one prompt */
export function planDrift(model: SuiteModel, text: ArrayLike<number>, { drift }: SuiteSettings): readonly Int32Array[] {
  const bos = windowStart(model.tokenizer);
  const own = drift.promptTokens - (bos === undefined ? 0 : 1);
  const room = text.length - own;
  check(room >= 0, "text", `at least ${own} tokens for a drift prompt`, `${text.length}; use a longer text or shorter prompts`);
  return Array.from({ length: drift.prompts }, (_, index) => {
    const start = drift.prompts === 1 ? 0 : Math.floor((index * room) / (drift.prompts - 1));
    return Int32Array.from([...(bos === undefined ? [] : [bos]), ...Array.prototype.slice.call(text, start, start + own)]);
  });
}

/** Runs and summarizes the drift part. @throws CORRUPT_DATA for NaN in activations; CANCELLED */
export async function runDrift(context: SuiteContext, prompts: readonly Int32Array[], { drift }: SuiteSettings): Promise<DriftSection> {
  const { model, runs, units } = context;
  const references: ReferenceContinuation[] = [];
  const rows = new Map<SuiteRun, Continuation[]>(runs.map((run) => [run, []]));
  for (const [index, prompt] of prompts.entries()) {
    let reference: ReferenceContinuation | undefined;
    for (const run of runs) {
      const unit = { part: "drift" as const, text: `drift, prompt ${index + 1} of ${prompts.length}: ${describeRun(run)}`, tokens: driftTokens(prompt, drift.tokens), key: driftKey(model, run, { prompt, tokens: drift.tokens }) };
      if (reference === undefined) {
        reference = await units.run({ ...unit, compute: (onStep) => continueExactly(context, run, { prompt, tokens: drift.tokens, onStep }) });
        references.push(reference);
        rows.get(run)!.push(identical(reference));
      } else {
        const along = reference;
        rows.get(run)!.push(await units.run({ ...unit, compute: (onStep) => follow(context, run, { prompt, reference: along, onStep }) }));
      }
    }
  }
  return {
    prompts: prompts.length,
    promptTokens: drift.promptTokens,
    tokens: drift.tokens,
    textFingerprint: fingerprintTokens(prompts),
    rows: runs.map((run) => summarizeDrift(run, { references, continuations: rows.get(run)!, tokens: drift.tokens })),
  };
}

/** Work of one unit in tokens, for progress: a decode step costs about as much as ten tokens of a prompt. */
export function driftTokens(prompt: Int32Array, tokens: number): number {
  return prompt.length + 10 * tokens;
}

/** The first run is fp16, so that its continuation is there for the others. */
async function continueExactly({ model, signal }: SuiteContext, run: SuiteRun, { prompt, tokens, onStep }: { prompt: Int32Array; tokens: number; onStep: () => void }): Promise<ReferenceContinuation> {
  const { width } = model.config;
  const cache = openGenerationCache(model, run);
  const hidden = new Float32Array(tokens * width);
  const chosen: number[] = [];
  try {
    let next: ArrayLike<number> = prompt;
    while (chosen.length < tokens) {
      throwIfCancelled(signal, "suite");
      const state = await feed(model, cache, next, { signal, onStep });
      hidden.set(state, chosen.length * width);
      const token = await mostLikely(model, state);
      chosen.push(token);
      if (model.tokenizer.eos.includes(token)) break; // What follows the end of a text is another text.
      next = [token];
    }
  } finally {
    cache.dispose();
  }
  return { tokens: chosen, hidden: packNumbers(hidden.subarray(0, chosen.length * width)) };
}

/** Feeds fp16's tokens through decode steps, so that the cache grows as in generation; where it first disagrees, a fork goes on by itself. */
async function follow({ model, signal }: SuiteContext, run: SuiteRun, options: { prompt: Int32Array; reference: ReferenceContinuation; onStep: () => void }): Promise<Continuation> {
  const { prompt, reference, onStep } = options;
  const { width } = model.config;
  const count = reference.tokens.length;
  const cache = openGenerationCache(model, run);
  const hidden = new Float32Array(count * width);
  let free: number[] = [];
  let branch: KvCache | undefined;
  try {
    let next: ArrayLike<number> = prompt;
    for (let step = 0; step < count; step++) {
      throwIfCancelled(signal, "suite");
      const state = await feed(model, cache, next, { signal, onStep });
      hidden.set(state, step * width);
      if (branch === undefined) {
        const token = await mostLikely(model, state);
        free.push(token);
        if (token !== reference.tokens[step]) branch = cache.fork();
      }
      next = [reference.tokens[step]!];
    }
    if (branch !== undefined) free = await runFreely(model, branch, { free, count, signal, onStep });
    return { ...(await compareStates(model, unpackFloat32(reference.hidden), hidden, count)), free };
  } finally {
    branch?.dispose();
    cache.dispose();
  }
}

/** Goes on from a cache that holds everything before the last token of `free`. */
async function runFreely(model: SuiteModel, cache: KvCache, options: { free: readonly number[]; count: number; signal: AbortSignal | undefined; onStep: () => void }): Promise<number[]> {
  const free = [...options.free];
  while (free.length < options.count && !model.tokenizer.eos.includes(free.at(-1)!)) {
    throwIfCancelled(options.signal, "suite");
    free.push(await mostLikely(model, await feed(model, cache, [free.at(-1)!], options)));
  }
  return free;
}

async function compareStates(model: SuiteModel, exact: Float32Array, own: Float32Array, count: number): Promise<Pick<Continuation, "divergence" | "agrees">> {
  const { width, vocabulary } = model.config;
  const block = createReferenceBlock(Math.min(SCORED_ROWS, count), vocabulary);
  const divergence = new Float64Array(count);
  const agrees = new Uint8Array(count);
  const comparison = { divergence: 0, agrees: true };
  for (let start = 0; start < count; start += SCORED_ROWS) {
    const rows = Math.min(SCORED_ROWS, count - start);
    block.fill(await model.logProbabilities(exact.subarray(start * width, (start + rows) * width), rows), rows);
    const other = await model.logProbabilities(own.subarray(start * width, (start + rows) * width), rows);
    for (let row = 0; row < rows; row++) {
      compareRow(block, other, row, comparison);
      divergence[start + row] = comparison.divergence;
      agrees[start + row] = comparison.agrees ? 1 : 0;
    }
  }
  return { divergence: packNumbers(divergence), agrees: packNumbers(agrees) };
}

function identical({ tokens }: ReferenceContinuation): Continuation {
  return { divergence: packNumbers(new Float64Array(tokens.length)), agrees: packNumbers(new Uint8Array(tokens.length).fill(1)), free: tokens };
}

function driftKey(model: SuiteModel, run: SuiteRun, { prompt, tokens }: { prompt: Int32Array; tokens: number }) {
  const cache = openGenerationCache(model, run);
  try {
    return { part: "drift", ...runKey(model, run, cache.backends()), prompt: fingerprintTokens([prompt]), tokens };
  } finally {
    cache.dispose();
  }
}
