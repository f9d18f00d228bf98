import type { KvCache } from "@kvquant/cache";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { createPrefixChain } from "./prefix-chain.js";
import { createResumePoints } from "./resume-points.js";
import type { Descendant, ResumePoint } from "./resume-points.js";

const chain = createPrefixChain("test", 1);

/** Stands for a cache: blocks of 10 bytes for each page, and of 30 for each 64 newest tokens, which turn into pages. */
interface Blocks {
  readonly held: Set<object>;
  readonly sizes: Map<object, number>;
}

function blockCache(blocks: Blocks, onDispose: () => void): KvCache & { readonly blocks: Blocks } {
  return {
    blocks,
    bytes(beyond?: KvCache) {
      const other = (beyond as { blocks: Blocks } | undefined)?.blocks.held ?? new Set();
      return { total: [...blocks.held].filter((block) => !other.has(block)).reduce((sum, block) => sum + blocks.sizes.get(block)!, 0) };
    },
    dispose: onDispose,
  } as unknown as KvCache & { readonly blocks: Blocks };
}

interface Runner extends Descendant {
  cache: (KvCache & { readonly blocks: Blocks }) | undefined;
  tokens: number[];
  exact: object[];
}

describe("resume points", () => {
  it("count every block once, whatever forks, grows, ends and is evicted", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ action: fc.constantFrom("start", "grow", "grow", "grow", "point", "end", "keep", "evict"), which: fc.nat(7), letter: fc.nat(1) }), { maxLength: 60 }), (history) => {
        const live = new Set<Blocks>();
        const sizes = new Map<object, number>();
        const open = (held: Iterable<object>): KvCache & { readonly blocks: Blocks } => {
          const blocks = { held: new Set(held), sizes };
          live.add(blocks);
          return blockCache(blocks, () => live.delete(blocks));
        };
        const points = createResumePoints(chain, open([]));
        const running: Runner[] = [];
        const recount = (): number => {
          const unique = new Set([...live].flatMap(({ held }) => [...held]));
          return [...unique].reduce((sum, block) => sum + sizes.get(block)!, 0);
        };
        for (const { action, which, letter } of history) {
          const runner = running[which % Math.max(1, running.length)];
          if (action === "start") {
            const all = [...points.all()];
            const from = all[which % (all.length + 1)] as (ResumePoint & { cache: { blocks: Blocks } }) | undefined;
            const started: Runner = { parent: undefined, bytes: 0, cache: open(from?.cache.blocks.held ?? []), tokens: [...(from?.tokens ?? [0])], exact: [...(from?.cache.blocks.held ?? [])].filter((block) => sizes.get(block) === 30) };
            running.push(started);
            points.attach(started, from);
            if (from !== undefined) points.touch(from);
          } else if (action === "evict") {
            const before = recount();
            const evicted = points.evictOne();
            if (evicted !== undefined) expect(recount()).toBeLessThanOrEqual(before);
          } else if (runner !== undefined && action === "grow") {
            // A new exact block; the one before it becomes a page.
            const oldest = runner.exact.shift();
            if (oldest !== undefined) {
              runner.cache!.blocks.held.delete(oldest);
              const page = {};
              sizes.set(page, 10);
              runner.cache!.blocks.held.add(page);
            }
            const exact = {};
            sizes.set(exact, 30);
            runner.exact.push(exact);
            runner.cache!.blocks.held.add(exact);
            for (let index = 0; index < 64; index++) runner.tokens.push(letter);
            points.measure(runner);
          } else if (runner !== undefined && action === "point" && runner.tokens.length > (runner.parent?.tokens.length ?? 1)) {
            points.add({ tokens: [...runner.tokens], links: chain.extend([], runner.tokens), cache: open(runner.cache!.blocks.held), canonical: runner.tokens.length, scope: undefined }, { parent: runner.parent, child: runner });
          } else if (runner !== undefined && (action === "end" || action === "keep")) {
            const { cache, parent } = runner;
            runner.cache = undefined;
            points.attach(runner, undefined);
            running.splice(running.indexOf(runner), 1);
            if (action === "keep") points.add({ tokens: runner.tokens, links: chain.extend([], runner.tokens), cache: cache!, canonical: runner.tokens.length, scope: undefined }, { parent });
            else cache!.dispose();
          }
          // Evicting what several stand on is never chosen, so blocks are never counted for two.
          expect(points.bytes + running.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(recount());
          expect([...points.all()].reduce((sum, { bytes }) => sum + bytes, 0)).toBe(points.bytes);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("are found by the longest prefix, and by those who may use them", () => {
    const cache = (): KvCache => blockCache({ held: new Set(), sizes: new Map() }, () => undefined);
    const points = createResumePoints(chain, cache());
    const tokens = Array.from({ length: 200 }, (_, index) => index % 7);
    const add = (length: number, scope?: string): ResumePoint => points.add({ tokens: tokens.slice(0, length), links: chain.extend([], tokens.slice(0, length)), cache: cache(), canonical: length, scope }, { parent: undefined });
    const [short, long, mine] = [add(65), add(150), add(170, "me")];
    const find = (prompt: number[], me = false): ResumePoint | undefined => points.find(prompt, chain.extend([], prompt), ({ scope }) => scope === undefined || me);
    expect(find(tokens)).toBe(long);
    expect(find(tokens, true)).toBe(mine);
    expect(find(tokens.slice(0, 149))).toBe(short);
    expect(find([...tokens.slice(0, 140), 9, ...tokens.slice(141)])).toBe(short);
    expect(find([9, ...tokens.slice(1)])).toBeUndefined();
    expect(add(65)).toBe(short);
  });
});
