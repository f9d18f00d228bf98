/** Writes resume points behind the scenes and brings them back. */

import { createHash } from "node:crypto";

import type { KvCache, PageAtRest } from "@kvquant/cache";
import { isNativeCache } from "@kvquant/cpu";
import type { NativeKvCache } from "@kvquant/cpu";
import { KvquantError } from "@kvquant/spec";

import { createBreather } from "./breathe.js";
import type { CacheCost } from "./cache-cost.js";
import { decodePages, decodePoint, encodePages, encodePoint } from "./cache-records.js";
import type { CheckedStore } from "./checked-store.js";
import type { PrefixChain } from "./prefix-chain.js";
import { pointKey } from "./resume-points.js";
import type { ResumePoint } from "./resume-points.js";

/** Points that wait to be written; more are dropped: they can be computed again. */
const MOST_QUEUED = 64;
/** Page keys remembered as written. */
const MOST_WRITTEN = 262_144;
/** Page records read ahead. */
const READ_AHEAD = 8;

/** Where a prefix lies in the store. */
export interface StoredPrefix {
  readonly tokens: readonly number[];
  readonly links: readonly string[];
  readonly canonical: number;
  readonly scope: string | undefined;
  /** Keeps pages with generated tokens apart from those of prompts with the same tokens. */
  readonly salt: string;
}

/** The second tier of resume points. */
export interface Spill {
  /** Queues a point; resolves to whether all of it was written. */
  write(point: ResumePoint, salt?: string): Promise<boolean>;
  /** The cache of a prefix; `base` may hold pages of its beginning. Undefined when any record is missing or damaged. */
  read(prefix: StoredPrefix, base: ResumePoint | undefined): Promise<KvCache | undefined>;
  /** Positions of page ends beyond `held` where the store says it has a point, longest first. */
  marks(links: readonly string[], range: { readonly held: number; readonly most: number }): Promise<number[]>;
  /** Removes a point, and its pages that nobody else can use. */
  remove(prefix: StoredPrefix): Promise<void>;
  /** Resolves when nothing is queued. */
  flush(): Promise<void>;
}

/** What a spill works with. */
export interface SpillParts {
  readonly store: CheckedStore;
  readonly chain: PrefixChain;
  readonly cost: CacheCost;
  readonly createCache: () => KvCache;
}

/** Why caches like this one cannot be written; undefined when they can. */
export function explainSpill(cache: KvCache, isExact: boolean): string | undefined {
  if (isExact) return "fp16 caches are kept in memory only";
  return isNativeCache(cache) ? undefined : "caches on tiles are kept in memory only; the native engine's are written";
}

export function createSpill({ store, chain, cost, createCache }: SpillParts): Spill {
  const written = new Set<string>();
  const breathe = createBreather();
  let queued = 0;
  let last: Promise<unknown> = Promise.resolve();

  const pageKey = ({ links, canonical, salt }: Omit<StoredPrefix, "tokens" | "scope">, page: number): string =>
    `page/${chain.end(page + 1) <= canonical ? links[page]! : salted(links[page]!, salt)}`;
  const keyOf = (prefix: StoredPrefix): string => {
    const key = pointKey(chain, prefix);
    return `point/${prefix.scope === undefined ? key : salted(key, prefix.salt)}`;
  };
  const remember = (key: string): void => {
    written.add(key);
    for (const oldest of written) {
      if (written.size <= MOST_WRITTEN) break;
      written.delete(oldest);
    }
  };

  async function writePoint(point: ResumePoint, salt: string): Promise<boolean> {
    const prefix: StoredPrefix = { ...point, salt };
    const cache = point.cache as NativeKvCache;
    const pages = cost.closedPages(point.tokens.length);
    for (let page = 0; page < pages; page++) {
      const key = pageKey(prefix, page);
      if (written.has(key)) continue;
      await breathe();
      if (!(await store.write(key, encodePages(cache.exportPage(page) as readonly PageAtRest[])))) return false;
      remember(key);
    }
    await breathe();
    if (!(await store.write(keyOf(prefix), encodePoint({ tokens: point.tokens.length, pages, state: cache.exportExact() })))) return false;
    // Last, so that whoever finds the mark finds the rest.
    return point.scope !== undefined || store.write(`mark/${point.key}`, new Uint8Array(0));
  }

  return {
    write(point, salt = "") {
      if (queued >= MOST_QUEUED && point.pins === 0) {
        store.counts.dropped++;
        return Promise.resolve(false);
      }
      queued++;
      const run = last.then(async () => {
        try {
          return await writePoint(point, salt);
        } catch (error) {
          // Evicted before its turn, most likely.
          if (KvquantError.isInstance(error) && error.code === "DISPOSED") store.counts.dropped++;
          else store.report(`point/${point.key}`, error);
          return false;
        } finally {
          queued--;
        }
      });
      last = run;
      return run;
    },
    async marks(links, { held, most }) {
      const ends: number[] = [];
      for (let pages = chain.pagesWithin(most); pages > 0 && chain.end(pages) > held; pages--) ends.push(pages);
      const found = await Promise.all(ends.map((pages) => store.read(`mark/${links[pages - 1]!}`, () => true)));
      return ends.filter((_, index) => found[index] === true).map((pages) => chain.end(pages));
    },
    async read(prefix, base) {
      const key = keyOf(prefix);
      const record = await store.read(key, decodePoint);
      if (record === undefined) return undefined;
      const pages = cost.closedPages(prefix.tokens.length);
      const shared = base === undefined ? 0 : Math.min(pages, cost.closedPages(base.tokens.length));
      const cache = (shared === 0 ? createCache() : base!.cache.fork()) as NativeKvCache;
      try {
        if (record.tokens !== prefix.tokens.length || record.pages !== pages) throw new KvquantError("CORRUPT_DATA", `point: expected ${prefix.tokens.length} tokens in ${pages} pages, got ${record.tokens} in ${record.pages}`);
        if (shared === 0) cache.importSinks(record.state);
        else cache.truncate(chain.end(shared));
        if (!(await addPages(cache, prefix, { from: shared, to: pages }))) {
          cache.dispose();
          return undefined;
        }
        cache.importTail(record.state);
        if (cache.length !== prefix.tokens.length) throw new KvquantError("CORRUPT_DATA", `point: expected ${prefix.tokens.length} tokens, got ${cache.length}`);
        return cache;
      } catch (error) {
        cache.dispose();
        if (!KvquantError.isInstance(error) || error.code !== "CORRUPT_DATA") throw error;
        await store.reject(key, error);
        return undefined;
      }
    },
    async remove(prefix) {
      await store.remove(keyOf(prefix));
      for (let page = 0; page < cost.closedPages(prefix.tokens.length); page++) {
        if (chain.end(page + 1) > prefix.canonical) await store.remove(pageKey(prefix, page));
      }
    },
    async flush() {
      while (queued > 0) await last;
    },
  };

  async function addPages(cache: NativeKvCache, prefix: StoredPrefix, { from, to }: { from: number; to: number }): Promise<boolean> {
    const layers = cache.shape.layers;
    const read = (page: number): Promise<PageAtRest[] | undefined> => store.read(pageKey(prefix, page), (payload) => decodePages(payload, layers));
    for (let start = from; start < to; start += READ_AHEAD) {
      const group = await Promise.all(Array.from({ length: Math.min(READ_AHEAD, to - start) }, (_, index) => read(start + index)));
      for (const [index, records] of group.entries()) {
        const key = pageKey(prefix, start + index);
        // What is gone or damaged must be written again.
        if (records === undefined) {
          written.delete(key);
          return false;
        }
        await breathe();
        try {
          records.forEach((page, layer) => cache.addPage(layer, page));
        } catch (error) {
          written.delete(key);
          await store.reject(key, error);
          return false;
        }
        remember(key);
      }
    }
    return true;
  }
}

function salted(key: string, salt: string): string {
  return createHash("sha256").update(key).update(salt).digest("hex");
}
