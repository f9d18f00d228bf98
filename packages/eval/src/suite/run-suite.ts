/** The fidelity suite: every part asked for, on every cache, against the same engine's fp16 cache. */

import type { EvaluatedCache } from "../evaluated-cache.js";
import { openReferenceStore } from "../reference-store.js";
import { multikeyTask } from "./multikey-task.js";
import { needleTask } from "./needle-task.js";
import { paretoFront } from "./pareto-front.js";
import { passkeyTask } from "./passkey-task.js";
import type { RetrievalTask } from "./retrieval-task.js";
import { driftTokens, planDrift, runDrift } from "./run-drift.js";
import { runLayers } from "./run-layers.js";
import { planRetrieval, runRetrieval, trialTokens } from "./run-retrieval.js";
import { planWindows, runWindows } from "./run-windows.js";
import { createUnitRunner } from "./suite-units.js";
import type { SuiteModel } from "./suite-model.js";
import { resolveSettings } from "./suite-options.js";
import type { SuiteOptions, SuiteSettings } from "./suite-options.js";
import { REPORT_SCHEMA, REPORT_VERSION } from "./suite-report.js";
import type { FidelityReport, RetrievalSection, WindowSection } from "./suite-report.js";
import { createRuns, openGenerationCache } from "./suite-run.js";
import type { SuiteRun } from "./suite-run.js";
import { noUnits, openUnitStore } from "./unit-store.js";
import { cutWindows } from "../windows.js";
import { windowStart } from "../evaluation-model.js";

/**
 * Runs the suite. Everything is checked and all prompts are made before the first forward pass. Each finished unit (a window, a
 * continuation or a trial, with one cache) is kept in `unitFolder`; with `resume` a stopped run goes on, and its report is that of a run that was not stopped,
 * but for the seconds it took.
 * @throws INVALID_ARGUMENT for options that make no sense (see `resolveSettings`), a text too short, or a length with no room for a task
 * @throws MODEL_MISMATCH for an artifact of another model; CORRUPT_DATA for NaN in activations; CANCELLED
 */
export async function runSuite(model: SuiteModel, options: SuiteOptions): Promise<FidelityReport> {
  const settings = resolveSettings(model, options);
  const { signal, onNotice, tokens = [] } = options;
  const runs = createRuns({ caches: options.caches, tails: settings.tails });
  const caches = runs.map((run) => describeCache(model, run)); // Refuses a wrong artifact before any work is done.
  const plans = createPlans(model, tokens, settings);

  const store = options.unitFolder === undefined ? noUnits : openUnitStore(options.unitFolder, { resume: options.resume ?? false, onNotice });
  const units = createUnitRunner(store, options);
  units.plan(countTokens(plans, runs));
  const context = { model, runs, units, signal, seed: settings.seed, store: options.referenceFolder === undefined ? undefined : openReferenceStore(options.referenceFolder, onNotice) };

  const windows: WindowSection[] = [];
  for (const plan of plans.windows) windows.push(await runWindows(context, plan));
  const layers = plans.layers === undefined ? [] : await runLayers(context, plans.layers);
  const drift = plans.drift === undefined ? undefined : await runDrift(context, plans.drift, settings);
  const retrieval: RetrievalSection[] = [];
  for (const plan of plans.retrieval) retrieval.push(await runRetrieval(context, plan));
  if (options.resume === true && units.kept > 0) onNotice?.(`${units.kept} of ${units.kept + units.computed} units were finished before`);

  const { name, fingerprint, engine, config } = model;
  return {
    schema: REPORT_SCHEMA,
    version: REPORT_VERSION,
    model: { name, fingerprint, engine, contextLength: config.contextLength, layers: config.layers },
    protocol: { parts: settings.parts, tails: settings.tails, seed: settings.seed, reference: "fp16 cache, same engine", errors: "batch means of 64 tokens", intervals: "95%" },
    caches,
    windows,
    layers,
    drift,
    retrieval,
    pareto: paretoFront(windows[0]?.rows ?? []),
  };
}

type Plans = ReturnType<typeof createPlans>;

/** All windows and prompts, so that nothing is refused halfway. */
function createPlans(model: SuiteModel, tokens: ArrayLike<number>, settings: SuiteSettings) {
  const { parts, lengths } = settings;
  const tasks: RetrievalTask[] = [passkeyTask, needleTask(tokens), multikeyTask].filter(({ part }) => parts.includes(part));
  return {
    windows: planWindows(model, tokens, settings),
    layers: parts.includes("layers") ? cutWindows(tokens, { length: lengths[0]!, count: 1, bos: windowStart(model.tokenizer) })[0]! : undefined,
    drift: parts.includes("drift") ? planDrift(model, tokens, settings) : undefined,
    retrieval: tasks.flatMap((task) => lengths.map((length) => planRetrieval(model, task, length, settings))),
    driftTokens: settings.drift.tokens,
  };
}

function countTokens(plans: Plans, runs: readonly SuiteRun[]): number {
  const perRun =
    plans.windows.reduce((sum, plan) => sum + plan.length * plan.windows.length, 0) +
    (plans.drift ?? []).reduce((sum, prompt) => sum + driftTokens(prompt, plans.driftTokens), 0) +
    plans.retrieval.flatMap((plan) => plan.trials).reduce((sum, trial) => sum + trialTokens(trial), 0);
  const compressed = new Set<EvaluatedCache>(runs.filter((run) => run.tail !== undefined).map((run) => run.cache));
  return runs.length * perRun + compressed.size * (plans.layers?.length ?? 0);
}

function describeCache(model: SuiteModel, run: SuiteRun): FidelityReport["caches"][number] {
  const { cache: { artifact, name }, tail, artifactHash } = run;
  const cache = openGenerationCache(model, run);
  try {
    return { cache: name, tail, artifactHash, sinkTokens: artifact === "fp16" ? 0 : artifact.sinkTokens, backends: cache.backends() };
  } finally {
    cache.dispose();
  }
}
