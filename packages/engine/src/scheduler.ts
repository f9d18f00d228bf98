/** The loop: admits what fits, plans a step, runs it, hands out tokens. */

import type { KvCache } from "@kvquant/cache";
import type { LanguageModel } from "@kvquant/model";
import { KvquantError, PAGE_TOKENS } from "@kvquant/spec";

import { createBreather } from "./breathe.js";
import type { CacheCost } from "./cache-cost.js";
import type { CheckedRequest } from "./check-request.js";
import { createContinuation } from "./continuation.js";
import type { EngineEvent } from "./engine-event.js";
import type { GenerationPart, Usage } from "./generation.js";
import { splicePages } from "./splice-pages.js";
import type { SplicePlan } from "./splice-pages.js";
import { createPartQueue } from "./part-queue.js";
import { isDecoding, planStep } from "./plan-step.js";
import type { PrefixChain } from "./prefix-chain.js";
import type { ResumePoint, ResumePoints } from "./resume-points.js";
import type { Sequence } from "./sequence.js";
import { generatedTokens, ownScope, sessionScope } from "./sequence.js";
import type { StepOutcome, StepRunner } from "./step-runner.js";

/** Keys of page ends that are remembered to find where requests branch. */
const KNOWN_LINKS = 65_536;
/** Room kept for growth beyond a prompt before a request is admitted. */
const MARGIN_TOKENS = PAGE_TOKENS;
/** Tokens of a prompt that are computed together at least. */
const LEAST_CHUNK = 2;

/** What a scheduler is made of. */
export interface SchedulerParts {
  readonly model: LanguageModel;
  readonly chain: PrefixChain;
  readonly points: ResumePoints;
  readonly cost: CacheCost;
  readonly runner: StepRunner;
  readonly createCache: () => KvCache;
  readonly limits: { readonly cacheBytes: number; readonly stepTokens: number; readonly maxSequences: number; readonly maxWaiting: number; readonly snapshotTokens: number };
  /** Bytes of shared tables. */
  readonly tableBytes: number;
  readonly emit: (event: EngineEvent) => void;
  readonly hooks: SchedulerHooks;
}

/** What the engine's other parts do at certain moments. */
export interface SchedulerHooks {
  /** Looks for a longer prefix than `held` tokens in the second tier and adds it to the points; undefined when there is no second tier. */
  readonly fetch?: ((sequence: Sequence, held: number) => Promise<void>) | undefined;
  /** A resume point was added. */
  readonly onPoint?: ((point: ResumePoint) => void) | undefined;
  /** Plans to move the document that a request names, from where it is cached. */
  readonly planSplice?: ((sequence: Sequence) => SplicePlan | undefined) | undefined;
  /** A sequence is done; `point` holds its cache where one was left. Before its last part is handed out. */
  readonly onFinish?: ((sequence: Sequence, point: ResumePoint | undefined) => void) | undefined;
}

/** Totals since the start. */
export interface SchedulerTotals {
  promptTokens: number;
  cachedTokens: number;
  generatedTokens: number;
  steps: number;
  preemptions: number;
  cancelled: number;
  failed: number;
  finished: number;
  evictions: number;
  saturated: number;
  clamped: number;
}

/** Runs sequences until it is stopped. */
export class Scheduler {
  readonly totals: SchedulerTotals = { promptTokens: 0, cachedTokens: 0, generatedTokens: 0, steps: 0, preemptions: 0, cancelled: 0, failed: 0, finished: 0, evictions: 0, saturated: 0, clamped: 0 };
  readonly running: Sequence[] = [];
  readonly waiting: Sequence[] = [];
  readonly #parts: SchedulerParts;
  /** Page ends seen in prompts, oldest first. */
  readonly #known = new Set<string>();
  readonly #breathe = createBreather();
  /** Bytes of caches on their way from the second tier. */
  #reserved = 0;
  #next = 1;
  #stopped = false;
  #wake: (() => void) | undefined;
  #news = false;
  #abort = new AbortController();
  #inStep: readonly Sequence[] = [];
  readonly #loop: Promise<void>;

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
    this.#loop = this.#run();
  }

  /** Queues a checked request; `onPoint` is told of the resume point its cache becomes when it is done. @throws OUT_OF_CAPACITY */
  submit(request: CheckedRequest, onPoint?: (point: ResumePoint) => void): Sequence {
    const { limits, model } = this.#parts;
    const needed = this.neededBytes(request);
    const free = limits.cacheBytes - this.#parts.tableBytes - this.pinnedBytes();
    if (needed > free) {
      throw new KvquantError("OUT_OF_CAPACITY", `submit: expected a request that fits the ${limits.cacheBytes} bytes of the cache (${free} of them can be freed), got ${request.prompt.length} prompt and ${request.maxTokens} new tokens, which take ${needed}; shorten it, or raise cacheBytes`);
    }
    if (this.waiting.length >= limits.maxWaiting) throw new KvquantError("OUT_OF_CAPACITY", `submit: expected at most ${limits.maxWaiting} waiting requests, got one more; try again later`);
    const order = this.#next++;
    const tokens = [...request.prompt];
    const sequence: Sequence = {
      id: `gen-${order}`,
      order,
      request,
      parts: createPartQueue<GenerationPart>(() => this.cancel(sequence)),
      continuation: createContinuation(request, model.tokenizer),
      tokens,
      links: this.#parts.chain.extend([], tokens),
      submittedAt: performance.now(),
      parent: undefined,
      cache: undefined,
      bytes: 0,
      held: 0,
      cuts: [],
      state: "waiting",
      canonical: request.prompt.length,
      fetched: false,
      started: false,
      cancelled: false,
      cachedTokens: 0,
      splicedTokens: 0,
      splice: undefined,
      firstTokenAt: undefined,
      preemptions: 0,
      onDone: undefined,
      onPoint,
    };
    this.waiting.push(sequence);
    this.#parts.emit({ type: "submitted", id: sequence.id, promptTokens: request.prompt.length });
    this.#notify();
    return sequence;
  }

  /** Bytes a request takes at most when it is alone. */
  neededBytes(request: { readonly prompt: ArrayLike<number>; readonly maxTokens: number }): number {
    return this.#parts.cost.peakBytes(request.prompt.length + request.maxTokens + MARGIN_TOKENS);
  }

  /** Bytes held, each block once. */
  usedBytes(): number {
    return this.#parts.tableBytes + this.#parts.points.bytes + this.sequenceBytes() + this.#reserved;
  }

  sequenceBytes(): number {
    return this.running.reduce((sum, sequence) => sum + sequence.bytes, 0);
  }

  /** Bytes of pinned points and what they stand on. */
  pinnedBytes(): number {
    const held = new Set<ResumePoint>();
    for (const point of this.#parts.points.all()) {
      for (let at: ResumePoint | undefined = point.pins > 0 ? point : undefined; at !== undefined && !held.has(at); at = at.parent) held.add(at);
    }
    let sum = 0;
    for (const point of held) sum += point.bytes;
    return sum;
  }

  /** Reserves room for a cache that comes from the second tier, evicting resume points; returns what gives it back, or undefined when there is none beside what runs. */
  reserve(bytes: number): (() => void) | undefined {
    const free = (): number => this.#parts.limits.cacheBytes - this.#parts.tableBytes - this.#promisedBytes() - this.#reserved - this.#parts.points.bytes;
    if (free() + this.#parts.points.evictableBytes() < bytes) return undefined;
    while (free() < bytes) if (!this.#evictOne()) return undefined;
    this.#reserved += bytes;
    return () => {
      this.#reserved -= bytes;
    };
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

  /** Wakes the loop, after something outside changed. */
  notify(): void {
    this.#notify();
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#news = false;
      this.#sweep();
      if (this.#stopped && this.running.length + this.waiting.length === 0) return;
      this.#admit();
      this.#sweep();
      if (this.running.length === 0) {
        // Something may have come in while this round was under way.
        if (!this.#news) await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      await this.#step();
    }
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
      if (!this.#makeRoomFor(sequence, point)) return;
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
    const { chain } = this.#parts;
    let best: { readonly owner: Sequence; readonly end: number } | undefined;
    for (const owner of this.running) {
      if (!owner.request.reuse || owner.splicedTokens > 0 || owner.cancelled) continue;
      const end = chain.end(this.#commonPages(sequence, owner));
      if (end <= owner.canonical && end > Math.max(ready, owner.held) && end > (best?.end ?? 0)) best = { owner, end };
    }
    if (best === undefined || this.#commonPages(sequence, best.owner) === 0) return false;
    const { owner, end } = best;
    if (!owner.cuts.includes(end)) owner.cuts = [...owner.cuts, end].sort((a, b) => a - b);
    return true;
  }

  /** Pages at whose end both prompts are still the same and have a token left. */
  #commonPages(a: Sequence, b: Sequence): number {
    const { chain } = this.#parts;
    const most = Math.min(...[a, b].map(({ request }) => chain.pagesWithin(request.prompt.length - LEAST_CHUNK)));
    let low = 0;
    let high = most;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (a.links[middle - 1] === b.links[middle - 1]) low = middle;
      else high = middle - 1;
    }
    return low;
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

  /** Whether the prompt, and what runs, fits after evicting resume points; evicts them. */
  #makeRoomFor(sequence: Sequence, point: ResumePoint | undefined): boolean {
    const { cost, limits, points, tableBytes } = this.#parts;
    const shared = point === undefined ? 0 : cost.closedPages(point.tokens.length);
    const wanted = cost.peakBytes(sequence.tokens.length + MARGIN_TOKENS, shared);
    const promised = this.#promisedBytes();
    const free = (): number => limits.cacheBytes - tableBytes - promised - this.#reserved - points.bytes;
    const pin = point;
    if (pin !== undefined) pin.pins++;
    try {
      if (free() + points.evictableBytes() < wanted && this.running.length > 0) return false;
      while (free() < wanted) if (!this.#evictOne()) return this.running.length === 0;
      return true;
    } finally {
      if (pin !== undefined) pin.pins--;
    }
  }

  /** What running sequences hold, or will for their tokens and a little more. */
  #promisedBytes(): number {
    const { cost } = this.#parts;
    return this.running.reduce((sum, other) => sum + Math.max(other.bytes, cost.peakBytes(other.tokens.length + MARGIN_TOKENS, this.#sharedPages(other))), 0);
  }

  #sharedPages({ parent }: Sequence): number {
    return parent === undefined ? 0 : this.#parts.cost.closedPages(parent.tokens.length);
  }

  #evictOne(): boolean {
    const evicted = this.#parts.points.evictOne();
    if (evicted === undefined) return false;
    this.totals.evictions++;
    this.#parts.emit({ type: "evicted", tokens: evicted.tokens.length, bytes: evicted.bytes });
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
    sequence.cuts = sequence.request.reuse && sequence.canonical > sequence.held ? this.#chooseCuts(sequence).filter((cut) => cut <= sequence.canonical) : [];
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

  /** Ends of pages where a prompt leaves resume points: at intervals, at its last page end, and where it leaves what was seen before. */
  #chooseCuts(sequence: Sequence): number[] {
    const { chain, limits } = this.#parts;
    const every = Math.max(1, Math.round(limits.snapshotTokens / PAGE_TOKENS));
    const last = chain.pagesWithin(sequence.request.prompt.length - LEAST_CHUNK);
    let branch = last;
    while (branch > 0 && !this.#known.has(sequence.links[branch - 1]!)) branch--;
    for (const link of sequence.links.slice(0, last)) {
      this.#known.delete(link);
      this.#known.add(link);
    }
    for (const link of this.#known) {
      if (this.#known.size <= KNOWN_LINKS) break;
      this.#known.delete(link);
    }
    const cuts: number[] = [];
    for (let pages = 1; pages <= last; pages++) {
      if (chain.end(pages) > sequence.held && (pages % every === 0 || pages === last || pages === branch)) cuts.push(chain.end(pages));
    }
    return cuts;
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
      if (sequence.cancelled) continue;
      try {
        this.#advance(sequence, rows, outcomes[index]!);
      } catch (error) {
        this.#fail(sequence, error);
      }
    }
  }

  /** A plan that leaves the caches within the budget, after evicting resume points and preempting the youngest sequences. */
  #planWithinBudget(stepTokens: number): { readonly sequence: Sequence; readonly rows: number }[] {
    const { cost, limits } = this.#parts;
    for (;;) {
      const plan = planStep(
        this.running.map((sequence) => ({ sequence, held: sequence.held, known: sequence.tokens.length, prompt: sequence.request.prompt.length, cuts: sequence.cuts })),
        stepTokens,
      ).map(({ sequence, rows }) => ({ sequence: sequence.sequence, rows }));
      const growth = plan.reduce((sum, { sequence, rows }) => sum + Math.max(0, cost.bytes(sequence.held + rows, this.#sharedPages(sequence)) - sequence.bytes), 0);
      while (this.usedBytes() + growth > limits.cacheBytes && this.#evictOne());
      if (this.usedBytes() + growth <= limits.cacheBytes) return plan;
      const youngest = this.running.at(-1)!;
      if (this.running.length > 1) {
        this.#preempt(youngest);
        continue;
      }
      this.#fail(youngest, new KvquantError("OUT_OF_CAPACITY", `cache: expected at most ${limits.cacheBytes} bytes, got ${this.usedBytes() + growth} for one sequence of ${youngest.tokens.length} tokens beside what is pinned`));
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
    const { points } = this.#parts;
    sequence.held += rows;
    points.measure(sequence);
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

  #fail(sequence: Sequence, error: unknown): void {
    this.totals.failed++;
    this.#leave(sequence);
    sequence.parts.fail(error);
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
