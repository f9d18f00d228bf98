/** The loop: admits what fits, plans a step, runs it, hands out tokens. */

import { KvquantError, PAGE_TOKENS } from "@kvquant/spec";

import { describeAllocation } from "./allocation-failure.js";
import { createBreather } from "./breathe.js";
import type { CheckedRequest } from "./check-request.js";
import type { Usage } from "./generation.js";
import { MemoryBudget } from "./memory-budget.js";
import { isDecoding, planStep } from "./plan-step.js";
import { createPromptCuts, findOwner, LEAST_CHUNK } from "./prompt-cuts.js";
import type { PromptCuts } from "./prompt-cuts.js";
import type { ResumePoint } from "./resume-points.js";
import type { SchedulerParts, SchedulerTotals } from "./scheduler-parts.js";
import { createSequence, generatedTokens, ownScope, sessionScope } from "./sequence.js";
import type { Sequence } from "./sequence.js";
import { splicePages } from "./splice-pages.js";
import type { SplicePlan } from "./splice-pages.js";
import type { StepOutcome } from "./step-runner.js";

/** Runs sequences until it is stopped. */
export class Scheduler {
  readonly totals: SchedulerTotals = { promptTokens: 0, cachedTokens: 0, generatedTokens: 0, steps: 0, preemptions: 0, cancelled: 0, failed: 0, finished: 0, saturated: 0, clamped: 0 };
  readonly running: Sequence[] = [];
  readonly waiting: Sequence[] = [];
  readonly #parts: SchedulerParts;
  readonly memory: MemoryBudget;
  readonly #promptCuts: PromptCuts;
  readonly #breathe = createBreather();
  #next = 1;
  #stopped = false;
  #wake: (() => void) | undefined;
  #news = false;
  #abort = new AbortController();
  #inStep: readonly Sequence[] = [];
  readonly #loop: Promise<void>;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.memory = new MemoryBudget({ ...parts, cacheBytes: parts.limits.cacheBytes, running: this.running });
    this.#promptCuts = createPromptCuts(parts.chain, parts.limits.snapshotTokens);
    this.#loop = this.#run();
  }

  /** Queues a checked request; `onPoint` is told of the resume point its cache becomes when it is done. @throws OUT_OF_CAPACITY */
  submit(request: CheckedRequest, onPoint?: (point: ResumePoint) => void): Sequence {
    const { limits, model } = this.#parts;
    const needed = this.memory.leastBytes(request);
    const free = this.memory.freeableBytes();
    if (needed > free) {
      throw new KvquantError("OUT_OF_CAPACITY", `submit: expected a request that fits the ${limits.cacheBytes} bytes of the cache (${free} of them can be freed), got ${request.prompt.length} prompt and ${request.maxTokens} new tokens, which take ${needed}; shorten it, or raise cacheBytes`);
    }
    if (this.waiting.length >= limits.maxWaiting) throw new KvquantError("OUT_OF_CAPACITY", `submit: expected at most ${limits.maxWaiting} waiting requests, got one more; try again later`);
    const sequence: Sequence = createSequence(request, { order: this.#next++, chain: this.#parts.chain, tokenizer: model.tokenizer, onReturn: () => this.cancel(sequence), onPoint });
    this.waiting.push(sequence);
    this.#parts.emit({ type: "submitted", id: sequence.id, promptTokens: request.prompt.length });
    this.#notify();
    return sequence;
  }

  /** Cancels a sequence; its reader gets CANCELLED if it is still there. */
  cancel(sequence: Sequence): void {
    if (sequence.state === "done" || sequence.cancelled) return;
    sequence.cancelled = true;
    sequence.parts.fail(new KvquantError("CANCELLED", "the request was cancelled"));
    if (this.#inStep.length > 0 && this.#inStep.every(({ cancelled }) => cancelled)) this.#abort.abort();
    this.#notify();
  }

  /** Resolves when nothing runs or waits. */
  async idle(): Promise<void> {
    while (this.running.length + this.waiting.length > 0) {
      const last = this.waiting.at(-1) ?? this.running.at(-1)!;
      await new Promise<void>((resolve) => {
        const before = last.onDone;
        last.onDone = () => {
          before?.();
          resolve();
        };
      });
    }
  }

  /** Cancels everything and ends the loop. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const sequence of [...this.waiting, ...this.running]) this.cancel(sequence);
    this.#notify();
    await this.#loop;
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#news = false;
      this.#sweep();
      if (this.#stopped && this.running.length + this.waiting.length === 0) return;
      try {
        await this.#round();
      } catch (error) {
        // Nobody in particular is to blame, and nobody may wait for an answer that never comes. What is being fetched comes back by itself.
        for (const sequence of [...this.waiting, ...this.running]) if (sequence.state !== "fetching") this.#fail(sequence, error);
      }
    }
  }

  async #round(): Promise<void> {
    this.#admit();
    this.#sweep();
    if (this.running.length > 0) await this.#step();
    // Something may have come in while this round was under way.
    else if (!this.#news) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  /** Lets go of what was cancelled. */
  #sweep(): void {
    for (const sequence of [...this.waiting, ...this.running]) {
      if (!sequence.cancelled || sequence.state === "fetching") continue;
      this.totals.cancelled++;
      this.#leave(sequence);
      this.#parts.emit({ type: "cancelled", id: sequence.id });
    }
  }

  #admit(): void {
    const { points, limits } = this.#parts;
    for (const sequence of [...this.waiting]) {
      if (this.running.length >= limits.maxSequences) return;
      if (sequence.cancelled || sequence.state === "fetching") continue;
      this.#parts.chain.extend(sequence.links, sequence.tokens);
      const point = points.find(sequence.tokens, sequence.links, (candidate) => this.#mayUse(sequence, candidate));
      if (sequence.request.reuse && this.#waitsForAnother(sequence, point?.tokens.length ?? 0)) continue;
      if (this.#startFetch(sequence, point?.tokens.length ?? 0)) continue;
      if (!this.memory.makeRoomFor(sequence, point)) return;
      this.#start(sequence, point);
    }
  }

  /** Whether a sequence may go on from a point: its own, its session's, or one that everybody may use and that leaves two tokens of the prompt, for chunks of one have other bits. */
  #mayUse(sequence: Sequence, { scope, tokens }: ResumePoint): boolean {
    const { prompt, reuse, session } = sequence.request;
    if (scope === undefined) return reuse && tokens.length <= prompt.length - LEAST_CHUNK;
    if (scope === ownScope(sequence)) return tokens.length < sequence.tokens.length;
    return session !== undefined && scope === sessionScope(session) && tokens.length < prompt.length;
  }

  /** Whether a running prompt will soon have more of this one than is ready; it then leaves a resume point where the two part. */
  #waitsForAnother(sequence: Sequence, ready: number): boolean {
    const found = findOwner(this.#parts.chain, sequence, { running: this.running, ready });
    if (found === undefined) return false;
    const { owner, end } = found;
    if (!owner.cuts.includes(end)) owner.cuts = [...owner.cuts, end].sort((a, b) => a - b);
    return true;
  }

  #startFetch(sequence: Sequence, held: number): boolean {
    const { fetch } = this.#parts.hooks;
    if (fetch === undefined || sequence.fetched || !(sequence.request.reuse || sequence.request.session !== undefined)) return false;
    sequence.fetched = true;
    sequence.state = "fetching";
    // A store that fails is reported by the fetch itself, and the prompt is then computed; anything else that is thrown is the sequence's end.
    const settle = (failure?: { readonly error: unknown }): void => {
      sequence.state = "waiting";
      if (failure !== undefined && !sequence.cancelled) this.#fail(sequence, failure.error);
      this.#notify();
    };
    void fetch(sequence, held).then(
      () => settle(),
      (error: unknown) => settle({ error }),
    );
    return true;
  }

  #start(sequence: Sequence, point: ResumePoint | undefined): void {
    const { points, emit, hooks } = this.#parts;
    try {
      sequence.cache = point === undefined ? this.#parts.createCache() : point.cache.fork();
    } catch (error) {
      this.#fail(sequence, error);
      return;
    }
    this.waiting.splice(this.waiting.indexOf(sequence), 1);
    this.running.push(sequence);
    this.running.sort((a, b) => a.order - b.order);
    sequence.state = "running";
    sequence.held = point?.tokens.length ?? 0;
    sequence.canonical = point?.scope === undefined ? sequence.request.prompt.length : point.canonical;
    points.attach(sequence, point);
    if (point !== undefined) points.touch(point);
    sequence.splice = sequence.request.splice === undefined ? undefined : hooks.planSplice?.(sequence);
    if (sequence.splice !== undefined) {
      sequence.splice.source.pins++;
      sequence.canonical = Math.min(sequence.canonical, sequence.splice.first);
    }
    sequence.cuts = sequence.request.reuse && sequence.canonical > sequence.held ? this.#promptCuts.choose(sequence).filter((cut) => cut <= sequence.canonical) : [];
    if (sequence.splice !== undefined) sequence.cuts.push(sequence.splice.after);
    if (sequence.started) return;
    sequence.started = true;
    sequence.cachedTokens = Math.min(sequence.held, sequence.request.prompt.length);
    this.totals.promptTokens += sequence.request.prompt.length;
    this.totals.cachedTokens += sequence.cachedTokens;
    const waitedSeconds = (performance.now() - sequence.submittedAt) / 1000;
    sequence.parts.push({ type: "start", promptTokens: sequence.request.prompt.length, cachedTokens: sequence.cachedTokens, waitedSeconds });
    emit({ type: "started", id: sequence.id, cachedTokens: sequence.cachedTokens, waitedSeconds });
  }

  async #step(): Promise<void> {
    const { limits, runner, emit } = this.#parts;
    const plan = this.#planWithinBudget(limits.stepTokens);
    if (plan.length === 0) return;
    const began = performance.now();
    const items = plan.map(({ sequence, rows }) => ({
      cache: sequence.cache!,
      tokens: sequence.tokens.slice(sequence.held, sequence.held + rows),
      logits: sequence.held + rows === sequence.tokens.length && !sequence.request.prefillOnly,
    }));
    this.#abort = new AbortController();
    this.#inStep = plan.map(({ sequence }) => sequence);
    const outcomes = await runner.run(items, this.#abort.signal);
    this.#inStep = [];
    this.totals.steps++;
    const decodeTokens = plan.filter(({ sequence }) => isDecoding({ held: sequence.held, prompt: sequence.request.prompt.length })).length;
    emit({ type: "step", sequences: plan.length, prefillTokens: items.reduce((sum, { tokens }) => sum + tokens.length, 0) - decodeTokens, decodeTokens, seconds: (performance.now() - began) / 1000 });
    for (const [index, { sequence, rows }] of plan.entries()) {
      await this.#breathe();
      if (sequence.cancelled) {
        // Its cache went on all the same, and may be left to others: what it is said to hold must be what it holds.
        if (!("error" in outcomes[index]!)) sequence.held += rows;
        continue;
      }
      try {
        this.#advance(sequence, rows, outcomes[index]!);
      } catch (error) {
        this.#fail(sequence, error);
      }
    }
  }

  /** A plan that leaves the caches within the budget, after evicting resume points and preempting the youngest sequences. */
  #planWithinBudget(stepTokens: number): { readonly sequence: Sequence; readonly rows: number }[] {
    const { limits } = this.#parts;
    for (;;) {
      const plan = planStep(
        this.running.map((sequence) => ({ sequence, held: sequence.held, known: sequence.tokens.length, prompt: sequence.request.prompt.length, cuts: sequence.cuts })),
        stepTokens,
      ).map(({ sequence, rows }) => ({ sequence: sequence.sequence, rows }));
      if (this.memory.makeRoomToGrow(plan)) return plan;
      const youngest = this.running.at(-1)!;
      if (this.running.length > 1) {
        this.#preempt(youngest);
        continue;
      }
      this.#fail(youngest, new KvquantError("OUT_OF_CAPACITY", `cache: expected at most ${limits.cacheBytes} bytes, got ${this.memory.usedBytes()} and a step more for one sequence of ${youngest.tokens.length} tokens beside what is pinned`));
      return [];
    }
  }

  /** Takes a sequence's cache away; tokens, random state and text stay, and the cache is computed again later. */
  #preempt(sequence: Sequence): void {
    this.totals.preemptions++;
    sequence.preemptions++;
    this.#parts.emit({ type: "preempted", id: sequence.id, tokens: sequence.held });
    this.running.splice(this.running.indexOf(sequence), 1);
    this.#releaseCache(sequence, ownScope(sequence));
    sequence.held = 0;
    sequence.splicedTokens = 0;
    sequence.state = "waiting";
    this.waiting.push(sequence);
    this.waiting.sort((a, b) => a.order - b.order);
  }

  #advance(sequence: Sequence, rows: number, outcome: StepOutcome): void {
    if ("error" in outcome) {
      this.#fail(sequence, outcome.error);
      return;
    }
    const { points, cost } = this.#parts;
    sequence.held += rows;
    points.measure(sequence);
    if (cost.closedPages(sequence.held) > cost.closedPages(sequence.held - rows)) cost.observe(sequence.cache!);
    if (sequence.splice?.after === sequence.held) this.#splice(sequence, sequence.splice);
    else if (sequence.cuts.includes(sequence.held)) this.#leavePoint(sequence);
    if (outcome.logits !== undefined) this.#continue(sequence, outcome.logits);
    else if (sequence.request.prefillOnly && sequence.held === sequence.tokens.length) this.#finish(sequence, { reason: "length", text: "" });
  }

  #splice(sequence: Sequence, plan: SplicePlan): void {
    splicePages(sequence.cache!, plan);
    this.#forgetSplice(sequence);
    sequence.held = plan.first + PAGE_TOKENS * plan.pages;
    sequence.splicedTokens = PAGE_TOKENS * plan.pages;
    sequence.cuts = [];
    this.#parts.points.measure(sequence);
  }

  #forgetSplice(sequence: Sequence): void {
    if (sequence.splice !== undefined) sequence.splice.source.pins--;
    sequence.splice = undefined;
  }

  #continue(sequence: Sequence, logits: Float32Array): void {
    const { part, finish } = sequence.continuation.next(logits);
    sequence.tokens.push(part.token);
    this.totals.generatedTokens++;
    if (sequence.firstTokenAt === undefined) {
      sequence.firstTokenAt = performance.now();
      this.#parts.emit({ type: "first-token", id: sequence.id, seconds: (sequence.firstTokenAt - sequence.submittedAt) / 1000 });
    }
    sequence.parts.push(part);
    if (finish !== undefined) this.#finish(sequence, finish);
  }

  #finish(sequence: Sequence, finish: { readonly reason: "end" | "stop" | "length"; readonly text: string }): void {
    const { cost, emit, hooks } = this.#parts;
    const cache = sequence.cache!;
    const now = performance.now();
    const usage: Usage = {
      promptTokens: sequence.request.prompt.length,
      cachedTokens: sequence.cachedTokens,
      splicedTokens: sequence.splicedTokens,
      completionTokens: generatedTokens(sequence),
      firstTokenSeconds: ((sequence.firstTokenAt ?? now) - sequence.submittedAt) / 1000,
      seconds: (now - sequence.submittedAt) / 1000,
      cacheBytes: cache.bytes().total,
      fp16Bytes: cost.fp16Bytes(sequence.held),
      preemptions: sequence.preemptions,
    };
    this.totals.finished++;
    this.totals.saturated += cache.saturated;
    this.totals.clamped += cache.clamped;
    this.running.splice(this.running.indexOf(sequence), 1);
    const point = this.#releaseCache(sequence, sequence.request.session === undefined ? undefined : sessionScope(sequence.request.session));
    if (point !== undefined) sequence.onPoint?.(point);
    hooks.onFinish?.(sequence, point);
    this.#done(sequence);
    sequence.parts.push({ type: "finish", ...finish, usage });
    sequence.parts.end();
    emit({ type: "finished", id: sequence.id, reason: finish.reason, usage });
  }

  /** Leaves a fork at the end of a page, on which the sequence stands from then on. */
  #leavePoint(sequence: Sequence): void {
    const { points, hooks } = this.#parts;
    const tokens = sequence.tokens.slice(0, sequence.held);
    const point = points.add({ tokens, links: sequence.links, cache: sequence.cache!.fork(), canonical: tokens.length, scope: undefined }, { parent: sequence.parent, child: sequence });
    hooks.onPoint?.(point);
  }

  /**
   * Makes a resume point of what a sequence holds, or frees it. Where generated tokens are in it, it has other bits than a prompt with the same tokens: it is then kept for `scope` alone, or not at all.
   */
  #releaseCache(sequence: Sequence, scope: string | undefined): ResumePoint | undefined {
    const { chain, points, hooks } = this.#parts;
    const { cache, parent } = sequence;
    sequence.cache = undefined;
    this.#forgetSplice(sequence);
    points.attach(sequence, undefined);
    if (cache === undefined) return undefined;
    const canonical = Math.min(sequence.canonical, sequence.held);
    const forAll = canonical === sequence.held && sequence.request.reuse && (sequence.request.prefillOnly || chain.pagesWithin(sequence.held) > 0);
    const isNew = sequence.request.prefillOnly || sequence.held > (parent?.tokens.length ?? 0) || parent?.scope !== scope;
    if (sequence.splicedTokens > 0 || sequence.held === 0 || !isNew || !(forAll || scope !== undefined)) {
      cache.dispose();
      return undefined;
    }
    const tokens = sequence.tokens.slice(0, sequence.held);
    const point = points.add({ tokens, links: chain.extend(sequence.links, sequence.tokens), cache, canonical, scope: forAll ? undefined : scope }, { parent });
    hooks.onPoint?.(point);
    return point;
  }

  #fail(sequence: Sequence, thrown: unknown): void {
    const error = describeAllocation(thrown);
    this.totals.failed++;
    sequence.parts.fail(error);
    this.#leave(sequence);
    this.#parts.emit({ type: "failed", id: sequence.id, error });
  }

  /** Takes a sequence out, whatever it was doing. */
  #leave(sequence: Sequence): void {
    for (const list of [this.waiting, this.running]) {
      const place = list.indexOf(sequence);
      if (place >= 0) list.splice(place, 1);
    }
    this.#releaseCache(sequence, undefined);
    this.#done(sequence);
  }

  #done(sequence: Sequence): void {
    sequence.state = "done";
    sequence.onDone?.();
  }

  #notify(): void {
    this.#news = true;
    this.#wake?.();
    this.#wake = undefined;
  }
}
