/** Caches of prefixes from which sequences go on: found by content, counted once, evicted when memory is short. */

import { createHash } from "node:crypto";

import type { KvCache } from "@kvquant/cache";

import type { PrefixChain } from "./prefix-chain.js";

/** Something that shares blocks with a resume point: a later one, or a running sequence. */
export interface Descendant {
  parent: ResumePoint | undefined;
  /** Its cache; undefined while it has none. */
  readonly cache: KvCache | undefined;
  /** Bytes it holds beyond its parent. */
  bytes: number;
}

/** A prefix and the cache of exactly its tokens. Immutable but for its place in the tree. */
export interface ResumePoint extends Descendant {
  readonly key: string;
  readonly tokens: readonly number[];
  /** Leading tokens whose bits are those of a prompt computed from nothing. Later ones were generated, one by one, in other arithmetic. */
  readonly canonical: number;
  /** Who may go on from it; undefined: everybody, which takes that all of it is canonical. */
  readonly scope: string | undefined;
  /** Keys of its page ends. */
  readonly links: readonly string[];
  readonly cache: KvCache;
  readonly children: Set<Descendant>;
  /** Sessions that keep it. */
  pins: number;
  lastUsed: number;
}

/** All resume points of an engine. */
export interface ResumePoints {
  readonly count: number;
  readonly bytes: number;
  /** The longest point that `tokens` begins with and that passes. */
  find(tokens: readonly number[], links: readonly string[], passes: (point: ResumePoint) => boolean): ResumePoint | undefined;
  get(key: string): ResumePoint | undefined;
  all(): Iterable<ResumePoint>;
  /** Adds a point, which takes over the cache, between `child` and its parent. Where the key is known already the cache is disposed and that point returned. */
  add(point: Pick<ResumePoint, "tokens" | "links" | "cache" | "canonical" | "scope">, between: { readonly parent: ResumePoint | undefined; readonly child?: Descendant }): ResumePoint;
  /** Makes a point the parent of a sequence, or undoes it. */
  attach(child: Descendant, parent: ResumePoint | undefined): void;
  /** Counts a descendant's bytes anew. */
  measure(child: Descendant): number;
  /** Marks a point and what it stands on as just used. */
  touch(point: ResumePoint): void;
  /** Bytes that evicting would free without touching what runs or is pinned. */
  evictableBytes(): number;
  /** Removes the least recently used point that nothing stands on, else one that a single descendant stands on; undefined when there is none. */
  evictOne(): ResumePoint | undefined;
  dispose(): void;
}

/** Names a point by its content and its scope. */
export function pointKey(chain: PrefixChain, { tokens, links, scope }: Pick<ResumePoint, "tokens" | "links" | "scope">): string {
  const key = chain.key(links, tokens);
  return scope === undefined ? key : createHash("sha256").update(key, "hex").update(scope).digest("hex");
}

/** `empty`: a cache without tokens of the same kind, against which whole caches are measured. */
export function createResumePoints(chain: PrefixChain, empty: KvCache): ResumePoints {
  const points = new Map<string, ResumePoint>();
  /** Points by the key of their last page end. */
  const byPageEnd = new Map<string, ResumePoint[]>();
  let bytes = 0;
  let clock = 0;
  const isPoint = (child: Descendant): child is ResumePoint => "children" in child;
  const pageEnd = (point: Pick<ResumePoint, "tokens" | "links">): string => point.links[chain.pagesWithin(point.tokens.length) - 1] ?? chain.root;

  const measure = (child: Descendant): number => {
    const now = child.cache === undefined ? 0 : child.cache.bytes(child.parent?.cache ?? empty).total;
    if (isPoint(child)) bytes += now - child.bytes;
    child.bytes = now;
    return now;
  };
  const attach = (child: Descendant, parent: ResumePoint | undefined): void => {
    child.parent?.children.delete(child);
    child.parent = parent;
    parent?.children.add(child);
    measure(child);
  };
  const touch = (point: ResumePoint): void => {
    clock++;
    for (let at: ResumePoint | undefined = point; at !== undefined; at = at.parent) at.lastUsed = clock;
  };
  const remove = (point: ResumePoint): void => {
    const { parent } = point;
    parent?.children.delete(point);
    points.delete(point.key);
    const others = byPageEnd.get(pageEnd(point))!.filter((other) => other !== point);
    if (others.length === 0) byPageEnd.delete(pageEnd(point));
    else byPageEnd.set(pageEnd(point), others);
    bytes -= point.bytes;
    for (const child of [...point.children]) attach(child, parent);
    point.cache.dispose();
  };

  return {
    get count() {
      return points.size;
    },
    get bytes() {
      return bytes;
    },
    find(tokens, links, passes) {
      for (let pages = chain.pagesWithin(tokens.length); pages >= 0; pages--) {
        const start = pages === 0 ? 0 : chain.end(pages);
        const fitting = (byPageEnd.get(links[pages - 1] ?? chain.root) ?? []).filter((point) => {
          for (let index = start; index < point.tokens.length; index++) if (point.tokens[index] !== tokens[index]) return false;
          return passes(point);
        });
        if (fitting.length > 0) return fitting.reduce((a, b) => (b.tokens.length > a.tokens.length ? b : a));
      }
      return undefined;
    },
    get: (key) => points.get(key),
    all: () => points.values(),
    add({ tokens, links, cache, canonical, scope }, { parent, child }) {
      const key = pointKey(chain, { tokens, links, scope });
      const known = points.get(key);
      if (known !== undefined) {
        cache.dispose();
        touch(known);
        return known;
      }
      const point: ResumePoint = { key, tokens, links, cache, canonical, scope, parent: undefined, children: new Set(), bytes: 0, pins: 0, lastUsed: 0 };
      points.set(key, point);
      byPageEnd.set(pageEnd(point), [...(byPageEnd.get(pageEnd(point)) ?? []), point]);
      attach(point, parent);
      if (child !== undefined) attach(child, point);
      touch(point);
      return point;
    },
    attach,
    measure,
    touch,
    evictableBytes() {
      const held = new Set<ResumePoint>();
      for (const point of points.values()) {
        const needed = point.pins > 0 || [...point.children].some((child) => !isPoint(child));
        for (let at: ResumePoint | undefined = needed ? point : undefined; at !== undefined && !held.has(at); at = at.parent) held.add(at);
      }
      let sum = 0;
      for (const point of points.values()) if (!held.has(point)) sum += point.bytes;
      return sum;
    },
    evictOne() {
      for (const children of [0, 1]) {
        let oldest: ResumePoint | undefined;
        for (const point of points.values()) {
          if (point.pins === 0 && point.children.size === children && (oldest === undefined || point.lastUsed < oldest.lastUsed)) oldest = point;
        }
        if (oldest !== undefined) {
          remove(oldest);
          return oldest;
        }
      }
      return undefined;
    },
    dispose() {
      for (const point of points.values()) point.cache.dispose();
      points.clear();
      byPageEnd.clear();
      bytes = 0;
    },
  };
}
