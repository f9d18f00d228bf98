/** Attention of the newest tokens of a layer over its sinks, pages and exact tokens. */

import { applyRope } from "@kvquant/rope";
import type { Rope, RopeTable } from "@kvquant/rope";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { AttentionKernel, CacheShape, Matrix } from "@kvquant/spec";

import type { CachePage } from "./cache-page.js";
import { gatherGroup, scatterGroup } from "./head-major.js";
import type { LayerPlan } from "./layer-plan.js";
import type { LayerTokens } from "./layer-tokens.js";
import type { LayerAttention } from "./page-attention.js";
import { encodePages } from "./page-coding.js";
import { createStaging } from "./staging.js";
import type { Staging } from "./staging.js";
import { lastPositionSeeing, visiblePages } from "./visible-pages.js";
import type { PageRule } from "./visible-pages.js";
import { reserve } from "./workspace.js";
import type { Workspace } from "./workspace.js";

/** Longest run of queries handed to the kernel at once. */
const MAXIMUM_RUN = 256;

/** How a layer is compressed and rotated. */
export interface LayerRules {
  readonly shape: CacheShape;
  readonly rope: Rope;
  /** Undefined for an fp16 layer. */
  readonly plan: LayerPlan | undefined;
  /** Infinity for an fp16 layer. */
  readonly tailTokens: number;
  readonly quantizeOpenPage: boolean;
}

/** What one call works on. */
export interface AttendCall extends LayerRules {
  readonly kernel: AttentionKernel;
  readonly tokens: LayerTokens;
  readonly workspace: Workspace;
  /** Queries of the newest tokens `[m, queryHeads * headDim]`, before RoPE. */
  readonly q: Matrix;
  /** `[m, queryHeads * headDim]` */
  readonly out: Matrix;
}

/** Encodes the pages that the newest position sees compressed and that are still exact. Changes nothing. */
export function encodeClosing(rules: LayerRules, tokens: LayerTokens): CachePage[] {
  const { plan, shape, rope } = rules;
  if (plan === undefined || tokens.length === 0) return [];
  const count = rules.quantizeOpenPage
    ? Math.ceil(tokens.open.tokens / PAGE_TOKENS)
    : visiblePages(tokens.length - 1, tokens.rule(rules.tailTokens)) - tokens.pages.length;
  return count === 0 ? [] : encodePages(tokens, count, plan, { shape, table: rope.tables(0, tokens.length, tokens.length) });
}

/** The attention of `attendLayer` by a plug-in that reads pages as they are. */
export async function attendPages(call: LayerRules & Pick<AttendCall, "tokens" | "q" | "out"> & { readonly attention: LayerAttention }): Promise<readonly CachePage[]> {
  const { tokens, q, out } = call;
  const { length } = tokens;
  const first = length - q.rows;
  const closing = encodeClosing(call, tokens);
  const pages = [...tokens.pages, ...closing];
  const rule = tokens.rule(call.tailTokens);
  const visible = Uint32Array.from({ length: q.rows }, (_, row) => visiblePages(first + row, rule));
  const lastOfFirst = pages[visible[0]! - 1];
  const exactFrom = lastOfFirst === undefined ? tokens.sinkTokens : lastOfFirst.start + lastOfFirst.tokens;
  await call.attention.attend({ q, out, length, pages, visible, sinks: tokens.sinks.tokens, exactFrom, readExact: (range, keys, values) => tokens.readExact(range, keys, values) });
  return closing;
}

/**
 * Writes the attention of the queries to `out` and returns the pages that close with the newest of them; the tokens are left as they are.
 * Queries are taken in runs that see the same pages compressed. Rows of a page hold its exact tokens until the first run that sees it
 * compressed overwrites them, so each row is written at most twice a call.
 */
export async function attendLayer(call: AttendCall): Promise<readonly CachePage[]> {
  const { shape, tokens, workspace, plan } = call;
  const length = tokens.length;
  const first = length - call.q.rows;
  const table = call.rope.tables(0, length, length);
  const queries = rotateQueries(call, first, table);
  const closing = encodeClosing(call, tokens);
  const pages = [...tokens.pages, ...closing];
  const everything: PageRule = { closedPages: pages.length, openStart: length, tailTokens: call.tailTokens };
  const rule = call.quantizeOpenPage ? everything : tokens.rule(call.tailTokens);

  let staged = visiblePages(first, rule);
  const lastStaged = pages[staged - 1];
  const exactFrom = lastStaged === undefined ? 0 : lastStaged.start + lastStaged.tokens;
  const staging = createStaging({ shape, table, tokens, plan, exactFrom }, workspace);
  for (let page = 0; page < staged; page++) staging.writePage(pages[page]!);
  for (let position = first; position < length; ) {
    const seen = visiblePages(position, rule);
    while (staged < seen) staging.writePage(pages[staged++]!);
    const last = Math.min(length - 1, lastPositionSeeing(seen, rule), position + MAXIMUM_RUN - 1);
    await attendRun(call, { queries, row: position - first, rows: last - position + 1, keys: last + 1 }, staging);
    position = last + 1;
  }
  return closing;
}

/** Rotates queries into the workspace. Keys stay unscaled, so the attention factor multiplies rotated channels by its square. */
function rotateQueries(call: AttendCall, first: number, table: RopeTable): Float32Array {
  const { q, shape, workspace } = call;
  const { queryHeads, headDim } = shape;
  const { rotaryDim } = call.rope.config;
  const out = reserve(workspace, "queries", q.data.length).subarray(0, q.data.length);
  applyRope(q.data, table, { rows: q.rows, heads: queryHeads, headDim, rotaryDim, pairing: "half", offset: first, out });
  const gain = table.attentionFactor ** 2;
  if (gain === 1) return out;
  for (let head = 0; head < out.length; head += headDim) {
    for (let d = 0; d < rotaryDim; d++) out[head + d] = out[head + d]! * gain;
  }
  return out;
}

/** Consecutive queries that see the same pages compressed. */
interface Run {
  /** All queries of the call, rotated. */
  readonly queries: Float32Array;
  /** First row of the run. */
  readonly row: number;
  readonly rows: number;
  /** Keys that the last query of the run sees. */
  readonly keys: number;
}

async function attendRun(call: AttendCall, run: Run, staging: Staging): Promise<void> {
  const { kvHeads, queryHeads, headDim } = call.shape;
  const { rows: queries, keys } = run;
  const group = queryHeads / kvHeads;
  const length = group * queries * headDim;
  const q = reserve(call.workspace, "runQueries", length).subarray(0, length);
  const out = reserve(call.workspace, "runOut", length).subarray(0, length);
  const scale = 1 / Math.sqrt(headDim);
  for (let head = 0; head < kvHeads; head++) {
    const layout = { row: run.row, rows: queries, queryHeads, headDim, head: head * group, group };
    gatherGroup(run.queries, q, layout);
    const pending = call.kernel.attend({ q, k: staging.keys(head, keys), v: staging.values(head, keys), group, queries, keys, headDim, scale, out });
    if (pending !== undefined) await pending;
    scatterGroup(out, call.out.data, layout);
  }
}
