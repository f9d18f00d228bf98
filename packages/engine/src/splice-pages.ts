/** Moves the pages of a cached document behind another prefix: they hold keys before RoPE, so they say nothing of where they stand. */

import { isNativeCache } from "@kvquant/cpu";
import type { KvCache } from "@kvquant/cache";
import { KvquantError, PAGE_TOKENS } from "@kvquant/spec";

import type { CacheCost } from "./cache-cost.js";
import type { PrefixChain } from "./prefix-chain.js";
import type { ResumePoint } from "./resume-points.js";

/** What is to be moved where. */
export interface SplicePlan {
  /** A cache whose tokens begin with the document's. */
  readonly source: ResumePoint;
  /** Pages that are taken. */
  readonly pages: number;
  /** Position of the first token taken. */
  readonly first: number;
  /** Tokens that must be computed before: until then all pages before `first` have closed, and what lies beyond it is dropped again. */
  readonly after: number;
}

/** Rules that a plan follows. */
export interface SpliceRules {
  readonly chain: PrefixChain;
  readonly cost: CacheCost;
  readonly tailTokens: number;
}

/**
 * Plans to put a document's pages at position `at` of a prompt; undefined where no page of it is cached or none would save computing.
 * The document's first tokens (its sinks, kept exactly where it was cached) and its last ones (those beyond the closed pages) are computed at their new place.
 */
export function planSplice(points: Iterable<ResumePoint>, request: { readonly document: ArrayLike<number>; readonly at: number; readonly promptTokens: number }, { chain, cost, tailTokens }: SpliceRules): SplicePlan | undefined {
  const { document, at, promptTokens } = request;
  const links = chain.extend([], document);
  const first = at + chain.end(0);
  // Two tokens of the prompt stay to be computed.
  const room = Math.floor((promptTokens - 2 - first) / PAGE_TOKENS);
  let best: { readonly source: ResumePoint; readonly pages: number } | undefined;
  for (const source of points) {
    if (source.scope !== undefined) continue;
    let pages = Math.min(links.length, cost.closedPages(source.tokens.length), room);
    while (pages > 0 && links[pages - 1] !== source.links[pages - 1]) pages--;
    if (pages > (best?.pages ?? 0)) best = { source, pages };
  }
  const after = chain.end(Math.ceil((first - chain.end(0)) / PAGE_TOKENS)) + tailTokens;
  if (best === undefined || first + best.pages * PAGE_TOKENS <= after) return undefined;
  return { ...best, first, after };
}

/** Carries a plan out on a cache that holds `plan.after` tokens; it then holds `first + 64 * pages`. @throws UNSUPPORTED for a cache that takes no pages */
export function splicePages(cache: KvCache, { source, pages, first }: SplicePlan): void {
  if (!isNativeCache(cache) || !isNativeCache(source.cache)) throw new KvquantError("UNSUPPORTED", "splice: expected a compressed cache of the native engine, got another");
  cache.truncate(first);
  for (let index = 0; index < pages; index++) {
    source.cache.exportPage(index).forEach((page, layer) => cache.addPage(layer, page!));
  }
}
