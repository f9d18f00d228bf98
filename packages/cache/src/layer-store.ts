/** Keys and values of one layer: append, attend, truncate. */

import type { Rope } from "@kvquant/rope";
import { KvquantError, PAGE_TOKENS, check, checkFinite, checkInteger } from "@kvquant/spec";
import type { AttentionKernel, CacheShape, Matrix } from "@kvquant/spec";

import { attendLayer, attendPages, encodeClosing } from "./attend-layer.js";
import type { LayerRules } from "./attend-layer.js";
import type { CacheBytes } from "./cache-bytes.js";
import type { CachePage } from "./cache-page.js";
import { checkMatrix, encodeTokens } from "./check-tokens.js";
import type { LayerPlan } from "./layer-plan.js";
import { createLayerTokens } from "./layer-tokens.js";
import type { LayerTokens } from "./layer-tokens.js";
import type { LayerAttention, PageAttention } from "./page-attention.js";
import type { WorkspacePool } from "./workspace.js";

/** One layer of a cache. A call that throws leaves it unchanged. */
export interface LayerStore {
  /** Tokens held. */
  readonly length: number;
  /**
   * Appends keys and values `[tokens, kvHeads * headDim]`, keys BEFORE RoPE with half-split channels. Kept in fp16.
   * @throws INVALID_ARGUMENT for a wrong shape, NaN, or a number beyond fp16; while an attend is running; DISPOSED
   */
  append(k: Matrix, v: Matrix): void;
  /**
   * Causal attention of the last m tokens of the last append, queries `[m, queryHeads * headDim]` BEFORE RoPE, into `out` `[m, queryHeads * headDim]`.
   * Which keys a query sees compressed depends on its position alone. It may be repeated for queries whose keys are all still
   * held as they saw them: the last one always is. `out` is undefined after an error.
   * @throws INVALID_ARGUMENT for a wrong shape or NaN; CORRUPT_DATA from a codec; DISPOSED
   */
  attend(q: Matrix, out: Matrix): Promise<void>;
  /**
   * Forgets all tokens from `tokens` on. Cutting into a closed page shortens it without re-encoding, and the next page starts there:
   * tokens that were compressed stay compressed, even within the tail of later queries. `append` must follow before `attend`.
   * @throws INVALID_ARGUMENT, DISPOSED
   */
  truncate(tokens: number): void;
  /** Pages that exist in compressed form only, oldest first. */
  pages(): readonly CachePage[];
}

/** What the owning cache needs beyond `LayerStore`. */
export interface ManagedLayer extends LayerStore {
  /** Pages without the partial one that `quantizeOpenPage` makes. */
  closedPages(): readonly CachePage[];
  /** Of all blocks or, with `beyond`, of those that layer does not share, without tables. */
  bytes(beyond?: ManagedLayer): Omit<CacheBytes, "total" | "perToken">;
  /** @throws DISPOSED */
  held(): LayerTokens;
  fork(): ManagedLayer;
  /** Returns a function that brings back the tokens held now. */
  checkpoint(): () => void;
  /** @throws INVALID_ARGUMENT while an attend is running, DISPOSED */
  checkIdle(what: string): void;
  release(): void;
}

/** Everything fixed about a layer. */
export interface LayerContext {
  readonly index: number;
  readonly shape: CacheShape;
  readonly rope: Rope;
  readonly plan: LayerPlan | "fp16";
  readonly sinkTokens: number;
  readonly tailTokens: number;
  readonly quantizeOpenPage: boolean;
  readonly kernel: AttentionKernel;
  /** Reads pages in place of the kernel. */
  readonly attention: PageAttention | undefined;
  readonly pool: WorkspacePool;
}

/** Makes an empty layer; options are checked by `createKvCache`. An fp16 layer has neither sinks nor pages: all its tokens are exact. */
export function createLayerStore(context: LayerContext): ManagedLayer {
  const sinkTokens = context.plan === "fp16" ? 0 : context.sinkTokens;
  return assemble(context, { tokens: createLayerTokens(context.shape.kvHeads * context.shape.headDim, sinkTokens), queryable: 0, attention: context.attention?.openLayer(context.index) });
}

/** Where a layer starts from. */
interface LayerState {
  readonly tokens: LayerTokens;
  readonly queryable: number;
  readonly attention: LayerAttention | undefined;
}

function assemble(context: LayerContext, state: LayerState): ManagedLayer {
  const { shape, rope, index, quantizeOpenPage, kernel } = context;
  const plan = context.plan === "fp16" ? undefined : context.plan;
  const rules: LayerRules = { shape, rope, plan, tailTokens: plan === undefined ? Infinity : context.tailTokens, quantizeOpenPage };
  const keyCols = shape.kvHeads * shape.headDim;
  const queryCols = shape.queryHeads * shape.headDim;
  const { attention } = state;
  let { tokens } = state;
  /** How many of the newest tokens can be queried: those of the last append whose keys are all still held as they see them. */
  let { queryable } = state;
  let attending = false;
  let released = false;
  const name = (what: string): string => `layer ${index} ${what}`;

  function checkOpen(what: string): void {
    if (released) throw new KvquantError("DISPOSED", `${name(what)}: expected an open cache, got a disposed one`);
  }

  function checkIdle(what: string): void {
    checkOpen(what);
    check(!attending, name(what), "no attend running; await it first", "one that is");
  }

  function checkQueries(q: Matrix, out: Matrix): void {
    check(queryable > 0, name("attend"), "an append before", tokens.length === 0 ? "an empty layer" : "none since the truncation");
    checkMatrix(name("attend q"), q, q.rows, queryCols);
    check(q.rows <= queryable, name("attend q"), `at most ${queryable} rows, the newest tokens that can still be queried`, q.rows);
    check(!quantizeOpenPage || q.rows === tokens.length, name("attend q"), `all ${tokens.length} queries with quantizeOpenPage`, q.rows);
    checkMatrix(name("attend out"), out, q.rows, queryCols);
    checkFinite(name("attend q"), q.data);
  }

  return {
    get length() {
      checkOpen("length");
      return tokens.length;
    },
    append(k, v) {
      checkIdle("append");
      checkMatrix(name("append k"), k, k.rows, keyCols);
      checkMatrix(name("append v"), v, k.rows, keyCols);
      check(!quantizeOpenPage || tokens.length === 0, name("append"), "a single append to an empty layer with quantizeOpenPage", `${tokens.length} tokens held`);
      const keys = encodeTokens(name("append k"), k);
      const values = encodeTokens(name("append v"), v);
      // Pages that the last append filled close now if no attend came to do it.
      tokens.close(encodeClosing(rules, tokens));
      tokens.append(keys, values, k.rows);
      queryable = k.rows;
    },
    async attend(q, out) {
      checkIdle("attend");
      checkQueries(q, out);
      attending = true;
      const workspace = context.pool.acquire();
      try {
        const closing = attention === undefined ? await attendLayer({ ...rules, kernel, tokens, workspace, q, out }) : await attendPages({ ...rules, attention, tokens, q, out });
        checkOpen("attend");
        tokens.close(closing);
        // Older queries saw as exact what has just been dropped.
        if (closing.length > 0 && !quantizeOpenPage) queryable = Math.min(queryable, tokens.length - (tokens.openStart() + rules.tailTokens - 1));
      } finally {
        attending = false;
        context.pool.release(workspace);
      }
    },
    truncate(count) {
      checkIdle("truncate");
      checkInteger(name("truncate tokens"), count, { minimum: 0, maximum: tokens.length });
      if (count === tokens.length) return;
      tokens.truncate(count);
      attention?.forget(count);
      queryable = 0;
    },
    pages() {
      checkOpen("pages");
      return [...tokens.pages];
    },
    closedPages() {
      return tokens.pages.filter((page) => page.key.tokens === PAGE_TOKENS);
    },
    bytes(beyond) {
      const { pages, sinks, open } = tokens;
      const other = beyond?.held();
      const own = other === undefined ? pages : pages.filter((page, place) => other.pages[place]?.key !== page.key);
      let encoded = 0;
      for (const page of own) encoded += page.key.bytes.length + page.value.bytes.length;
      return {
        pages: encoded,
        pageHeaders: 8 * own.length,
        sinks: sinks.byteLength,
        exact: open.byteLength - (other === undefined ? 0 : sharedExactBytes(tokens, other)),
        tables: other === undefined ? (plan?.tableBytes ?? 0) : 0,
      };
    },
    held() {
      checkOpen("held");
      return tokens;
    },
    fork() {
      checkIdle("fork");
      return assemble(context, { tokens: tokens.fork(), queryable, attention: attention?.fork() });
    },
    checkpoint() {
      checkIdle("checkpoint");
      const held = tokens.fork();
      return () => {
        checkIdle("restore");
        tokens = held.fork();
        // Truncations since the checkpoint may have made any token another one.
        attention?.forget(0);
        queryable = 0;
      };
    },
    checkIdle,
    release() {
      released = true;
      attention?.release();
      tokens = createLayerTokens(keyCols, 0);
    },
  };
}

/** Bytes of the chunks of exact tokens that two layers share. */
function sharedExactBytes(tokens: LayerTokens, other: LayerTokens): number {
  const offset = (tokens.openStart() - other.openStart()) / PAGE_TOKENS;
  const chunks = Math.ceil(tokens.open.tokens / PAGE_TOKENS);
  let shared = 0;
  for (let index = 0; index < chunks; index++) if (other.open.chunk(index + offset) === tokens.open.chunk(index)) shared++;
  return chunks === 0 ? 0 : (tokens.open.byteLength / chunks) * shared;
}
