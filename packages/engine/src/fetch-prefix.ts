/** Brings back the prefix of a request from the second tier. */

import type { KvCache } from "@kvquant/cache";

import type { CacheCost } from "./cache-cost.js";
import { createCheckedStore } from "./checked-store.js";
import type { CheckedStore } from "./checked-store.js";
import type { EngineEvent } from "./engine-event.js";
import type { PageStore } from "./page-store.js";
import type { PrefixChain } from "./prefix-chain.js";
import { pointKey } from "./resume-points.js";
import type { ResumePoint, ResumePoints } from "./resume-points.js";
import type { Sequence } from "./sequence.js";
import type { Sessions } from "./sessions.js";
import { createSpill } from "./spill.js";
import type { Spill, StoredPrefix } from "./spill.js";

/** A store, and what writes to it. */
export interface SecondTier {
  readonly store: CheckedStore;
  readonly spill: Spill;
}

/** Opens the second tier over a store. */
export function openSecondTier(
  pages: PageStore,
  parts: { readonly chain: PrefixChain; readonly cost: CacheCost; readonly createCache: () => KvCache; readonly emit: (event: EngineEvent) => void },
): SecondTier {
  const store = createCheckedStore(pages, parts.emit);
  return { store, spill: createSpill({ ...parts, store }) };
}

/** What a fetch works with. */
export interface FetchParts extends SecondTier {
  readonly sequence: Sequence;
  /** Tokens that memory has. */
  readonly held: number;
  readonly chain: PrefixChain;
  readonly cost: CacheCost;
  readonly points: ResumePoints;
  readonly sessions: Sessions;
  readonly emit: (event: EngineEvent) => void;
  readonly reserve: (bytes: number) => (() => void) | undefined;
}

/** Adds the longest prefix that the store has to the resume points, if it beats what memory has. Never throws for what a store does. */
export async function fetchPrefix(parts: FetchParts): Promise<void> {
  const { store } = parts;
  for await (const prefix of candidates(parts)) {
    if (await restore(parts, prefix)) {
      store.counts.hits++;
      return;
    }
  }
  store.counts.misses++;
}

/** The session's own prefix, then marked page ends, longest first. */
async function* candidates({ sequence, held, sessions, spill }: FetchParts): AsyncGenerator<StoredPrefix> {
  const { prompt, reuse, session: id } = sequence.request;
  if (id !== undefined) {
    const session = await sessions.find(id);
    const fits = session !== undefined && session.tokens.length > held && session.tokens.length < prompt.length && session.tokens.every((token, index) => prompt[index] === token);
    if (fits) yield sessions.prefix(session);
  }
  if (!reuse) return;
  for (const end of await spill.marks(sequence.links, { held, most: prompt.length - 2 })) {
    yield { tokens: prompt.slice(0, end), links: sequence.links, canonical: end, scope: undefined, salt: "" };
  }
}

async function restore({ chain, cost, points, spill, emit, reserve }: FetchParts, prefix: StoredPrefix): Promise<boolean> {
  if (points.get(pointKey(chain, prefix)) !== undefined) return true;
  const release = reserve(cost.bytes(prefix.tokens.length));
  if (release === undefined) return false;
  const began = performance.now();
  const base = points.find(prefix.tokens, prefix.links, ({ scope }: ResumePoint) => scope === undefined);
  // It must be there still when its pages have been shared.
  if (base !== undefined) base.pins++;
  try {
    const cache = await spill.read(prefix, base);
    if (cache === undefined) return false;
    points.add({ ...prefix, cache }, { parent: base });
    emit({ type: "restored", tokens: prefix.tokens.length, seconds: (performance.now() - began) / 1000 });
    return true;
  } finally {
    if (base !== undefined) base.pins--;
    release();
  }
}
