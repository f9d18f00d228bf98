/** Makes a serving engine. */

import type { KvCache } from "@kvquant/cache";
import type { LanguageModel } from "@kvquant/model";
import { KvquantError, check, checkInteger } from "@kvquant/spec";

import { createCacheCost } from "./cache-cost.js";
import { checkRequest } from "./check-request.js";
import { collectStats } from "./collect-stats.js";
import type { Generation, GenerationRequest } from "./generation.js";
import { identifyCache } from "./identify-cache.js";
import { LEAST_PROMPT_ROWS } from "./plan-step.js";
import { createPrefixChain } from "./prefix-chain.js";
import { createResumePoints } from "./resume-points.js";
import { Scheduler } from "./scheduler.js";
import type { ServingEngine, ServingEngineOptions } from "./serving-engine.js";
import { createStepRunner } from "./step-runner.js";

/**
 * Makes an engine over a model.
 * @throws INVALID_ARGUMENT, MODEL_MISMATCH for an artifact of another model, UNSUPPORTED
 */
export function createServingEngine(options: ServingEngineOptions): ServingEngine {
  const { model, artifact, quantizers, tailTokens = 64, stepTokens = 512, maxSequences = 32, maxWaiting = 256, prefixReuse = true, snapshotTokens = 512 } = options;
  checkInteger("cacheBytes", options.cacheBytes, { minimum: 1 });
  checkInteger("maxSequences", maxSequences, { minimum: 1 });
  checkInteger("stepTokens", stepTokens, { minimum: 1 });
  const fewest = maxSequences + LEAST_PROMPT_ROWS;
  check(stepTokens >= fewest, "stepTokens", `at least ${fewest}, so that with ${maxSequences} sequences all can decode in every step and a prompt go on`, stepTokens);
  checkInteger("maxWaiting", maxWaiting, { minimum: 0 });
  checkInteger("snapshotTokens", snapshotTokens, { minimum: 1 });
  const sinkTokens = options.sinkTokens ?? (artifact === "fp16" ? 1 : artifact.sinkTokens);
  const createCache = cacheFactory(model, options, { sinkTokens, tailTokens });
  const empty = createCache();
  const tableBytes = empty.bytes().tables;
  // Without compression there are no sinks: prefixes are cut where chunks of exact tokens end.
  const chain = createPrefixChain(identifyCache({ model, artifact, quantizers, cache: empty, sinkTokens, tailTokens }), artifact === "fp16" ? 0 : sinkTokens);
  const cost = createCacheCost({ shape: model.shape, artifact, quantizers, sinkTokens, tailTokens });
  const points = createResumePoints(chain, empty);
  const runner = createStepRunner(model, empty);
  const emit = options.onEvent ?? (() => undefined);
  const limits = { cacheBytes: options.cacheBytes, stepTokens, maxSequences, maxWaiting, snapshotTokens };
  const scheduler = new Scheduler({ model, chain, points, cost, runner, createCache, limits, tableBytes, emit, hooks: {} });
  let draining = false;
  let disposed: Promise<void> | undefined;
  const checkLive = (): void => {
    if (disposed !== undefined) throw new KvquantError("DISPOSED", "engine: expected a live engine, got one already disposed");
  };

  const dispose = (): Promise<void> =>
    (disposed ??= (async () => {
      await scheduler.stop();
      points.dispose();
      empty.dispose();
    })());

  return {
    submit(request) {
      checkLive();
      const checked = checkRequest(request, model, { prefixReuse });
      if (draining) throw new KvquantError("OUT_OF_CAPACITY", "submit: expected an engine that takes requests, got one that is draining");
      return startGeneration(scheduler, scheduler.submit(checked), request);
    },
    stats() {
      checkLive();
      return collectStats({ model, artifact, scheduler, points, cost, runner, empty, limits });
    },
    async drain() {
      checkLive();
      draining = true;
      await scheduler.idle();
    },
    saveSession: () => Promise.reject(new KvquantError("UNSUPPORTED", "sessions: not there yet")),
    listSessions: () => Promise.resolve([]),
    deleteSession: () => Promise.resolve(false),
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

function cacheFactory(model: LanguageModel, options: ServingEngineOptions, rule: { readonly sinkTokens: number; readonly tailTokens: number }): () => KvCache {
  const { artifact, quantizers, precision, attention } = options;
  return () => model.createCache({ artifact, quantizers, precision, attention, ...rule });
}

function startGeneration(scheduler: Scheduler, sequence: ReturnType<Scheduler["submit"]>, { signal }: GenerationRequest): Generation {
  const cancel = (): void => scheduler.cancel(sequence);
  if (signal?.aborted === true) cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  sequence.onDone = () => signal?.removeEventListener("abort", cancel);
  return { id: sequence.id, [Symbol.asyncIterator]: () => sequence.parts[Symbol.asyncIterator]() };
}
