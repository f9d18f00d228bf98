/** Where prompts leave resume points, and which prompts wait for each other. */

import { PAGE_TOKENS } from "@kvquant/spec";

import type { PrefixChain } from "./prefix-chain.js";
import type { Sequence } from "./sequence.js";

/** Keys of page ends that are remembered to find where requests branch. */
const KNOWN_LINKS = 65_536;
/** Tokens of a prompt that are computed together at least. */
export const LEAST_CHUNK = 2;

/** Chooses cuts, remembering the prompts it has seen. */
export interface PromptCuts {
  /** Ends of pages where a prompt leaves resume points: at intervals, at its last page end, and where it leaves what was seen before. */
  choose(sequence: Sequence): number[];
}

/** A point every `snapshotTokens`, rounded to pages. */
export function createPromptCuts(chain: PrefixChain, snapshotTokens: number): PromptCuts {
  /** Page ends seen in prompts, oldest first. */
  const known = new Set<string>();
  const every = Math.max(1, Math.round(snapshotTokens / PAGE_TOKENS));
  return {
    choose({ links, held, request }) {
      const last = chain.pagesWithin(request.prompt.length - LEAST_CHUNK);
      let branch = last;
      while (branch > 0 && !known.has(links[branch - 1]!)) branch--;
      for (const link of links.slice(0, last)) {
        known.delete(link);
        known.add(link);
      }
      for (const link of known) {
        if (known.size <= KNOWN_LINKS) break;
        known.delete(link);
      }
      const cuts: number[] = [];
      for (let pages = 1; pages <= last; pages++) {
        if (chain.end(pages) > held && (pages % every === 0 || pages === last || pages === branch)) cuts.push(chain.end(pages));
      }
      return cuts;
    },
  };
}

/** A running prompt that will soon have more of this one than the `ready` tokens there are, and where the two part. */
export function findOwner(chain: PrefixChain, sequence: Sequence, { running, ready }: { readonly running: readonly Sequence[]; readonly ready: number }): { readonly owner: Sequence; readonly end: number } | undefined {
  let best: { readonly owner: Sequence; readonly end: number } | undefined;
  for (const owner of running) {
    if (!owner.request.reuse || owner.splicedTokens > 0 || owner.cancelled) continue;
    const pages = commonPages(chain, sequence, owner);
    const end = chain.end(pages);
    if (pages > 0 && end <= owner.canonical && end > Math.max(ready, owner.held) && end > (best?.end ?? 0)) best = { owner, end };
  }
  return best;
}

/** Pages at whose end both prompts are still the same and have a chunk left. */
function commonPages(chain: PrefixChain, a: Sequence, b: Sequence): number {
  let low = 0;
  let high = Math.min(...[a, b].map(({ request }) => chain.pagesWithin(request.prompt.length - LEAST_CHUNK)));
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (a.links[middle - 1] === b.links[middle - 1]) low = middle;
    else high = middle - 1;
  }
  return low;
}
