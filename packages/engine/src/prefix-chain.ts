/** Names prefixes by their content: a hash for each page end, chained from position 0. */

import { createHash } from "node:crypto";

import { PAGE_TOKENS } from "@kvquant/spec";

/** Hashes of prefixes under one identity of model, cache and arithmetic. */
export interface PrefixChain {
  /** Position of the end of page `pages - 1`: `first + 64 * pages`. */
  end(pages: number): number;
  /** Full pages within the first `tokens` tokens. */
  pagesWithin(tokens: number): number;
  /** Adds to `links` the keys of page ends within `tokens`; `links[i]` names the tokens up to `end(i + 1)`. */
  extend(links: string[], tokens: ArrayLike<number>): string[];
  /** Key of a prefix of any length: its last page end's key with the tokens after it; the page end's own key when there are none. */
  key(links: readonly string[], tokens: ArrayLike<number>): string;
  /** Key of the empty prefix. */
  readonly root: string;
}

/** `first`: tokens before the first page (the sinks); they belong to the first link. */
export function createPrefixChain(identity: string, first: number): PrefixChain {
  const root = createHash("sha256").update(identity).digest("hex");
  const end = (pages: number): number => first + PAGE_TOKENS * pages;
  const pagesWithin = (tokens: number): number => Math.max(0, Math.floor((tokens - first) / PAGE_TOKENS));
  const link = (parent: string, tokens: ArrayLike<number>, from: number, to: number): string => {
    const bytes = Buffer.alloc(4 * (to - from));
    for (let index = from; index < to; index++) bytes.writeUInt32LE(tokens[index]!, 4 * (index - from));
    return createHash("sha256").update(parent, "hex").update(bytes).digest("hex");
  };
  return {
    root,
    end,
    pagesWithin,
    extend(links, tokens) {
      for (let pages = links.length; pages < pagesWithin(tokens.length); pages++) {
        links.push(link(links[pages - 1] ?? root, tokens, pages === 0 ? 0 : end(pages), end(pages + 1)));
      }
      return links;
    },
    key(links, tokens) {
      const pages = pagesWithin(tokens.length);
      const start = pages === 0 ? 0 : end(pages);
      const parent = pages === 0 ? root : links[pages - 1]!;
      return start === tokens.length ? parent : link(parent, tokens, start, tokens.length);
    },
  };
}
