/** A request on its way through the engine. */

import type { KvCache } from "@kvquant/cache";
import type { Tokenizer } from "@kvquant/model";

import type { CheckedRequest } from "./check-request.js";
import { createContinuation } from "./continuation.js";
import type { Continuation } from "./continuation.js";
import type { GenerationPart } from "./generation.js";
import { createPartQueue } from "./part-queue.js";
import type { PartQueue } from "./part-queue.js";
import type { PrefixChain } from "./prefix-chain.js";
import type { SplicePlan } from "./splice-pages.js";
import type { Descendant, ResumePoint } from "./resume-points.js";

/** Everything the scheduler knows of one request. */
export interface Sequence extends Descendant {
  readonly id: string;
  /** Number in order of arrival. */
  readonly order: number;
  readonly request: CheckedRequest;
  readonly parts: PartQueue<GenerationPart>;
  readonly continuation: Continuation;
  /** Prompt, then generated tokens. */
  readonly tokens: number[];
  /** Keys of the page ends of `tokens`, extended as it grows. */
  readonly links: string[];
  readonly submittedAt: number;
  /** What it came from; owned by the tree of resume points. */
  parent: ResumePoint | undefined;
  cache: KvCache | undefined;
  bytes: number;
  /** Tokens its cache holds. */
  held: number;
  /** Positions where a prefill chunk ends and a resume point is left. */
  cuts: number[];
  state: "waiting" | "fetching" | "running" | "done";
  /** Leading tokens whose bits are those of a prompt computed from nothing; later ones were generated here, or follow such. */
  canonical: number;
  /** The store was asked for its prefix. */
  fetched: boolean;
  started: boolean;
  cancelled: boolean;
  cachedTokens: number;
  splicedTokens: number;
  /** A document that will be moved here once enough is computed; its source is pinned until then. */
  splice: SplicePlan | undefined;
  firstTokenAt: number | undefined;
  preemptions: number;
  /** Called once it has left the engine. */
  onDone: (() => void) | undefined;
  /** Called with the resume point that its cache becomes when it is done. */
  readonly onPoint: ((point: ResumePoint) => void) | undefined;
}

/** Where a new sequence belongs. */
export interface SequencePlace {
  readonly order: number;
  readonly chain: PrefixChain;
  readonly tokenizer: Tokenizer;
  readonly onReturn: () => void;
  readonly onPoint: ((point: ResumePoint) => void) | undefined;
}

/** A request that has just come in. */
export function createSequence(request: CheckedRequest, { order, chain, tokenizer, onReturn, onPoint }: SequencePlace): Sequence {
  const tokens = [...request.prompt];
  return {
    id: `gen-${order}`,
    order,
    request,
    parts: createPartQueue<GenerationPart>(onReturn),
    continuation: createContinuation(request, tokenizer),
    tokens,
    links: chain.extend([], tokens),
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
}

/** Tokens it has generated. */
export function generatedTokens(sequence: Sequence): number {
  return sequence.tokens.length - sequence.request.prompt.length;
}

/** Scope of the cache that a preempted sequence leaves for itself. */
export function ownScope({ id }: Sequence): string {
  return `sequence ${id}`;
}

/** Scope of caches that only requests of a session go on from. */
export function sessionScope(id: string): string {
  return `session ${id}`;
}
