/** Makes a serving engine. */

import type { KvCache } from "@kvquant/cache";
import { isNativeCache } from "@kvquant/cpu";
import type { LanguageModel } from "@kvquant/model";
import { KvquantError, check, checkInteger } from "@kvquant/spec";

import { createCacheCost } from "./cache-cost.js";
import { checkRequest, checkSessionId } from "./check-request.js";
import type { CheckedRequest } from "./check-request.js";
import { collectStats } from "./collect-stats.js";
import { createEmit } from "./engine-event.js";
import { fetchPrefix, openSecondTier } from "./fetch-prefix.js";
import type { Generation, GenerationRequest } from "./generation.js";
import { identifyCache } from "./identify-cache.js";
import { LEAST_PROMPT_ROWS } from "./plan-step.js";
import { createPrefixChain } from "./prefix-chain.js";
import { encodeProbePages } from "./probe-pages.js";
import { createResumePoints } from "./resume-points.js";
import type { ResumePoint } from "./resume-points.js";
import { Scheduler } from "./scheduler.js";
import type { Sequence } from "./sequence.js";
import { createSessions, toInfo } from "./sessions.js";
import type { Session } from "./sessions.js";
import { explainSpill } from "./spill.js";
import { planSplice } from "./splice-pages.js";
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
  const probe = artifact === "fp16" ? undefined : encodeProbePages(artifact, quantizers);
  const tableBytes = empty.bytes().tables;
  // Without compression there are no sinks: prefixes are cut where chunks of exact tokens end.
  const chain = createPrefixChain(identifyCache({ model, artifact, probe, cache: empty, sinkTokens, tailTokens }), artifact === "fp16" ? 0 : sinkTokens);
  const cost = createCacheCost({ shape: model.shape, layers: artifact === "fp16" ? undefined : artifact.layers, probe, sinkTokens, tailTokens });
  const points = createResumePoints(chain, empty);
  const runner = createStepRunner(model, empty);
  const emit = createEmit(options.onEvent);
  const limits = { cacheBytes: options.cacheBytes, stepTokens, maxSequences, maxWaiting, snapshotTokens };
  const memoryOnly = options.store === undefined ? undefined : explainSpill(empty, artifact === "fp16");
  const second = options.store === undefined || memoryOnly !== undefined ? undefined : openSecondTier(options.store, { chain, cost, createCache, emit });
  const sessions = createSessions(chain, second);
  /** Sessions on their way to where they stay. */
  const saving = new Set<Promise<unknown>>();
  const keepSession = (id: string, point: ResumePoint): Promise<Session> => {
    const kept = sessions.keep(id, point);
    saving.add(kept);
    const settle = (): boolean => saving.delete(kept);
    void kept.then(settle, settle);
    return kept;
  };
  const scheduler: Scheduler = new Scheduler({
    model,
    chain,
    points,
    cost,
    runner,
    createCache,
    limits,
    tableBytes,
    emit,
    hooks: {
      ...(second === undefined
        ? {}
        : {
            fetch: (sequence: Sequence, held: number) => fetchPrefix({ sequence, held, chain, cost, points, sessions, ...second, emit, reserve: (bytes) => scheduler.memory.reserve(bytes) }),
            onPoint: (point: ResumePoint) => {
              // Those of sessions are written by the session, those of preempted sequences concern nobody else.
              if (point.scope === undefined) void second.spill.write(point);
            },
          }),
      planSplice: ({ request, held }) => {
        const { splice, prompt } = request;
        const plan = splice === undefined ? undefined : planSplice(points.all(), { ...splice, promptTokens: prompt.length }, { chain, cost, tailTokens });
        // A prefix that reaches into the document is exact, and better.
        return plan === undefined || held > plan.first ? undefined : plan;
      },
      onFinish: (sequence, point) => {
        if (sequence.request.session !== undefined && point !== undefined && !sequence.request.prefillOnly) void keepSession(sequence.request.session, point);
      },
    },
  });
  const canSplice = artifact !== "fp16" && isNativeCache(empty);
  let draining = false;
  let closed = false;
  let disposed: Promise<void> | undefined;
  const checkLive = (): void => {
    if (disposed !== undefined) throw new KvquantError("DISPOSED", "engine: expected a live engine, got one already disposed");
  };

  const checkTaking = (what: string): void => {
    if (draining) throw new KvquantError("OUT_OF_CAPACITY", `${what}: expected an engine that takes requests, got one that is draining`);
  };

  /** Sessions that are pinned may take half of the memory; those on their way to a store are let go of soon, but for one that takes none. */
  function checkSessionRoom(request: CheckedRequest): void {
    const wanted = scheduler.memory.pinnedBytes() + scheduler.memory.leastBytes(request);
    if (wanted <= options.cacheBytes / 2 || (second !== undefined && (saving.size > 0 || sessions.pinned === 0))) return;
    const remedy = second === undefined ? "give the engine a store" : "see to its store, which does not take them";
    throw new KvquantError("OUT_OF_CAPACITY", `session ${request.session}: expected sessions within half of cacheBytes, ${options.cacheBytes / 2}, got ${wanted} with this one; delete some, or ${remedy}`);
  }

  const dispose = (): Promise<void> =>
    (disposed ??= (async () => {
      await scheduler.stop();
      await Promise.all(saving);
      await second?.spill.flush();
      closed = true;
      points.dispose();
      empty.dispose();
    })());

  return {
    submit(request) {
      checkLive();
      const checked = checkRequest(request, model, { prefixReuse });
      if (checked.splice !== undefined && !canSplice) throw new KvquantError("UNSUPPORTED", "splice: expected a compressed cache of the native engine, got another; leave splice out, and the document is computed");
      checkTaking("submit");
      if (checked.session !== undefined) checkSessionRoom(checked);
      return startGeneration(scheduler, scheduler.submit(checked), request);
    },
    stats() {
      if (closed) checkLive();
      return {
        ...collectStats({ model, artifact, scheduler, points, cost, runner, empty, limits, sessions: sessions.count }),
        ...(second === undefined ? {} : { store: second.store.stats() }),
        ...(memoryOnly === undefined ? {} : { memoryOnly }),
      };
    },
    async drain() {
      checkLive();
      draining = true;
      await scheduler.idle();
      await Promise.all(saving);
      await second?.spill.flush();
    },
    async saveSession(id, tokens) {
      checkLive();
      checkSessionId(id);
      checkTaking("saveSession");
      const checked: CheckedRequest = { ...checkRequest({ prompt: tokens, maxTokens: 1 }, model, { prefixReuse: true }), session: id, prefillOnly: true };
      checkSessionRoom(checked);
      let kept: Promise<Session> | undefined;
      const sequence = scheduler.submit(checked, (point) => {
        kept = keepSession(id, point);
      });
      for await (const part of sequence.parts) if (part.type === "finish") break;
      if (kept === undefined) throw new KvquantError("CANCELLED", `session ${id}: the engine was stopped before it was saved`);
      return toInfo(await kept);
    },
    listSessions() {
      checkLive();
      return sessions.list();
    },
    async deleteSession(id) {
      checkLive();
      checkSessionId(id);
      return sessions.delete(id);
    },
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
