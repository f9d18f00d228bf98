/** Rotated keys and values of a whole layer as an attention kernel reads them, for the time of one `attend`. */

import { PAGE_TOKENS } from "@kvquant/spec";

import type { CachePage } from "./cache-page.js";
import type { ExactTokens } from "./exact-tokens.js";
import { scatterHeads } from "./head-major.js";
import type { LayerPlan } from "./layer-plan.js";
import type { LayerTokens } from "./layer-tokens.js";
import { decodePage, rotateKeys } from "./page-coding.js";
import type { CodingContext } from "./page-coding.js";
import { reserve } from "./workspace.js";
import type { Workspace } from "./workspace.js";

/** Head-major rows of one attend call; row = position. */
export interface Staging {
  /** Keys of one KV head, positions `0 .. count - 1`, `[count, headDim]`. */
  keys(head: number, count: number): Float32Array;
  /** Values likewise. */
  values(head: number, count: number): Float32Array;
  /** Writes what the codecs make of a page over its rows; each page is decoded once a call, from its bytes. */
  writePage(page: CachePage): void;
}

/** What is staged. */
export interface StagingSource extends CodingContext {
  readonly tokens: LayerTokens;
  /** Undefined for an fp16 layer, which has no pages. */
  readonly plan: LayerPlan | undefined;
  /** Positions below this come from pages, by `writePage`; those from here on, and the sinks, from the exact tokens. */
  readonly exactFrom: number;
}

/** Fills the workspace with sinks and exact tokens; rows of pages are left for `writePage`. */
export function createStaging(source: StagingSource, workspace: Workspace): Staging {
  const { tokens, plan, shape } = source;
  const { kvHeads, headDim } = shape;
  const capacity = tokens.length;
  const keyRows = reserve(workspace, "keys", kvHeads * capacity * headDim);
  const valueRows = reserve(workspace, "values", kvHeads * capacity * headDim);
  const scratch = reserve(workspace, "page", PAGE_TOKENS * kvHeads * headDim);
  const context = { ...source, out: scratch };

  function writeExact(exact: ExactTokens, range: { readonly first: number; readonly count: number }, at: number): void {
    const rows = scratch.subarray(0, range.count * kvHeads * headDim);
    exact.read("key", range, rows);
    rotateKeys(rows, at, range.count, source);
    scatterHeads(rows, keyRows, { rows: range.count, heads: kvHeads, headDim, capacity, at });
    exact.read("value", range, rows);
    scatterHeads(rows, valueRows, { rows: range.count, heads: kvHeads, headDim, capacity, at });
  }

  for (let first = 0; first < tokens.sinks.tokens; first += PAGE_TOKENS) {
    writeExact(tokens.sinks, { first, count: Math.min(PAGE_TOKENS, tokens.sinks.tokens - first) }, first);
  }
  for (let first = Math.max(0, source.exactFrom - tokens.openStart()); first < tokens.open.tokens; first += PAGE_TOKENS) {
    writeExact(tokens.open, { first, count: Math.min(PAGE_TOKENS, tokens.open.tokens - first) }, tokens.openStart() + first);
  }
  return {
    keys(head, count) {
      return keyRows.subarray(head * capacity * headDim, (head * capacity + count) * headDim);
    },
    values(head, count) {
      return valueRows.subarray(head * capacity * headDim, (head * capacity + count) * headDim);
    },
    writePage(page) {
      if (plan === undefined) return;
      const layout = { rows: page.tokens, heads: kvHeads, headDim, capacity, at: page.start };
      scatterHeads(decodePage(page, "key", plan, context), keyRows, layout);
      scatterHeads(decodePage(page, "value", plan, context), valueRows, layout);
    },
  };
}
