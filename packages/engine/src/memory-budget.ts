/** Who may take how much of the memory: admission, eviction, pins. */

import { PAGE_TOKENS } from "@kvquant/spec";

import type { CacheCost } from "./cache-cost.js";
import type { EngineEvent } from "./engine-event.js";
import type { ResumePoint, ResumePoints } from "./resume-points.js";
import type { Sequence } from "./sequence.js";

/** Room kept for growth beyond the tokens a sequence has. */
const MARGIN_TOKENS = PAGE_TOKENS;

/** What a budget watches. */
export interface MemoryBudgetParts {
  readonly cacheBytes: number;
  /** Bytes of shared tables. */
  readonly tableBytes: number;
  readonly cost: CacheCost;
  readonly points: ResumePoints;
  /** In order of arrival; the budget looks, the scheduler changes. */
  readonly running: readonly Sequence[];
  readonly emit: (event: EngineEvent) => void;
}

/** The memory of an engine. */
export class MemoryBudget {
  readonly #parts: MemoryBudgetParts;
  /** Bytes of caches on their way from the second tier. */
  #reserved = 0;
  #evictions = 0;

  constructor(parts: MemoryBudgetParts) {
    this.#parts = parts;
  }

  get evictions(): number {
    return this.#evictions;
  }

  /** Bytes held, each block once. */
  usedBytes(): number {
    return this.#parts.tableBytes + this.#parts.points.bytes + this.sequenceBytes() + this.#reserved;
  }

  sequenceBytes(): number {
    return this.#parts.running.reduce((sum, sequence) => sum + sequence.bytes, 0);
  }

  /** The least a request can take at its peak when it is alone: with less it can never run. */
  leastBytes(request: { readonly prompt: ArrayLike<number>; readonly maxTokens: number }): number {
    return this.#parts.cost.leastPeakBytes(request.prompt.length + request.maxTokens + MARGIN_TOKENS);
  }

  /** Bytes that are left when all that can be freed is. */
  freeableBytes(): number {
    return this.#parts.cacheBytes - this.#parts.tableBytes - this.pinnedBytes();
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
    if (this.#unpromised() + this.#parts.points.evictableBytes() < bytes) return undefined;
    while (this.#unpromised() < bytes) if (!this.evictOne()) return undefined;
    this.#reserved += bytes;
    return () => {
      this.#reserved -= bytes;
    };
  }

  /** Whether a sequence's tokens, and what runs, fit after evicting resume points but the one it starts from; evicts them. One that is alone always may try. */
  makeRoomFor(sequence: Sequence, point: ResumePoint | undefined): boolean {
    const { cost, points, running } = this.#parts;
    const wanted = cost.peakBytes(sequence.tokens.length + MARGIN_TOKENS, point === undefined ? 0 : cost.closedPages(point.tokens.length));
    if (point !== undefined) point.pins++;
    try {
      if (running.length > 0 && this.#unpromised() + points.evictableBytes() < wanted) return false;
      while (this.#unpromised() < wanted) if (!this.evictOne()) return running.length === 0;
      return true;
    } finally {
      if (point !== undefined) point.pins--;
    }
  }

  /** Evicts resume points until the caches stay within the budget when sequences hold `rows` more; false when that is not enough. */
  makeRoomToGrow(plan: readonly { readonly sequence: Sequence; readonly rows: number }[]): boolean {
    const { cost, cacheBytes } = this.#parts;
    // An eviction moves bytes to what stood on the point, so growth is asked for again each time.
    const after = (): number => this.usedBytes() + plan.reduce((sum, { sequence, rows }) => sum + Math.max(0, cost.bytes(sequence.held + rows, this.#sharedPages(sequence)) - sequence.bytes), 0);
    while (after() > cacheBytes) if (!this.evictOne()) return false;
    return true;
  }

  evictOne(): boolean {
    const evicted = this.#parts.points.evictOne();
    if (evicted === undefined) return false;
    this.#evictions++;
    this.#parts.emit({ type: "evicted", tokens: evicted.tokens.length, bytes: evicted.bytes });
    return true;
  }

  /** Bytes beside the resume points and what running sequences hold, or will for their tokens and a little more. */
  #unpromised(): number {
    const { cost, cacheBytes, tableBytes, points, running } = this.#parts;
    const promised = running.reduce((sum, other) => sum + Math.max(other.bytes, cost.peakBytes(other.tokens.length + MARGIN_TOKENS, this.#sharedPages(other))), 0);
    return cacheBytes - tableBytes - promised - this.#reserved - points.bytes;
  }

  #sharedPages({ parent }: Sequence): number {
    return parent === undefined ? 0 : this.#parts.cost.closedPages(parent.tokens.length);
  }
}
