/** The passkey, needle and multikey parts: does the model still find what is in its prompt? */

import { fingerprintTokens } from "../fingerprint-tokens.js";
import { throwIfCancelled } from "../throw-if-cancelled.js";
import { feed, mostLikely } from "./decode-step.js";
import type { RetrievalPlan, TrialUnit } from "./retrieval-units.js";
import { trialRandom } from "./retrieval-task.js";
import type { RetrievalTask, Trial } from "./retrieval-task.js";
import type { SuiteContext } from "./suite-context.js";
import type { SuiteModel } from "./suite-model.js";
import type { RetrievalPart, SuiteSettings } from "./suite-options.js";
import type { RetrievalSection } from "./suite-report.js";
import { describeRun, openGenerationCache, runKey } from "./suite-run.js";
import type { SuiteRun } from "./suite-run.js";
import { summarizeRetrieval } from "./summarize-retrieval.js";
import type { UnitKey } from "./unit-store.js";

/** The trials of a task at a length: trial t is at depth t modulo the depths; the same for every cache. */
export function planRetrieval(model: SuiteModel, task: RetrievalTask, length: number, { trials, depths, seed }: SuiteSettings): RetrievalPlan {
  const { part } = task;
  return {
    part,
    length,
    trials: Array.from({ length: trials }, (_, index) => {
      const depth = depths[index % depths.length]!;
      return { ...task.createTrial(model, { length, depth, random: trialRandom(seed, part, length, index) }), depth };
    }),
  };
}

/** Runs and summarizes one task at one length. @throws CORRUPT_DATA for NaN in activations; CANCELLED */
export async function runRetrieval(context: SuiteContext, plan: RetrievalPlan): Promise<RetrievalSection> {
  const { model, runs, units } = context;
  const results = new Map<SuiteRun, TrialUnit[]>(runs.map((run) => [run, []]));
  for (const [index, trial] of plan.trials.entries()) {
    for (const run of runs) {
      const text = `${plan.part} ${plan.length}, trial ${index + 1} of ${plan.trials.length}: ${describeRun(run)}`;
      results.get(run)!.push(await units.run({ key: trialKey(model, run, trial, plan.part), part: plan.part, text, tokens: trialTokens(trial), compute: (onStep) => runTrial(context, run, trial, onStep) }));
    }
  }
  return summarizeRetrieval(plan, runs.map((run) => ({ run, units: results.get(run)! })));
}

/** Work of one trial in tokens, for progress; steps count tenfold. */
export function trialTokens(trial: Trial): number {
  return trial.prompt.length + 10 * trial.maxTokens;
}

async function runTrial({ model, signal }: SuiteContext, run: SuiteRun, trial: Trial, onStep: () => void): Promise<TrialUnit> {
  const cache = openGenerationCache(model, run);
  try {
    const state = await feed(model, cache, trial.prompt, { signal, onStep });
    // The answer is scored on a fork, so that generating starts from the prompt alone.
    const forced = cache.fork();
    let logProbability: number;
    try {
      logProbability = await scoreAnswer(model, forced, { state, answer: trial.answer, signal });
    } finally {
      forced.dispose();
    }
    const written: number[] = [];
    let text = "";
    let token = await mostLikely(model, state);
    while (!model.tokenizer.eos.includes(token)) {
      throwIfCancelled(signal, "suite");
      written.push(token);
      text = model.tokenizer.decode(written);
      if (written.length >= trial.maxTokens || trial.isDecided(text)) break;
      token = await mostLikely(model, await feed(model, cache, [token], { signal, onStep }));
    }
    return { text, passed: trial.passes(text), logProbability };
  } finally {
    cache.dispose();
  }
}

/** Sum of log p over the answer's tokens, the first one after `state`. */
async function scoreAnswer(model: SuiteModel, cache: ReturnType<typeof openGenerationCache>, { state, answer, signal }: { state: Float32Array; answer: Int32Array; signal: AbortSignal | undefined }): Promise<number> {
  const { width, vocabulary } = model.config;
  const hidden = new Float32Array(answer.length * width);
  hidden.set(state);
  if (answer.length > 1) hidden.set(await model.forward(answer.subarray(0, -1), cache, { signal }), width);
  const scores = await model.logProbabilities(hidden, answer.length);
  return answer.reduce((sum, token, row) => sum + scores[row * vocabulary + token]!, 0);
}

function trialKey(model: SuiteModel, run: SuiteRun, trial: Trial, part: RetrievalPart): UnitKey {
  const cache = openGenerationCache(model, run);
  try {
    return { part, ...runKey(model, run, cache.backends()), prompt: fingerprintTokens([trial.prompt, trial.answer]), tokens: trial.maxTokens };
  } finally {
    cache.dispose();
  }
}
