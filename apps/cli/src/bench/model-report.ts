/** What `kvquant bench model` found, as JSON and as a table. */

import { formatBytes, formatOptional, formatShare } from "../format.js";
import { formatTable } from "../table.js";
import type { Column } from "../table.js";
import { formatMachine } from "./machine.js";
import type { Machine } from "./machine.js";

/** One engine with one cache at one depth, or (no decode speed) reading one prompt. */
export interface ModelRow {
  readonly engine: string;
  readonly cache: string;
  /** Tokens in the cache; tokens of the prompt. */
  readonly depth: number;
  readonly threads: number;
  /** Sequences decoded in one step. */
  readonly batch: number;
  /** Of all sequences together; undefined in rows of prompts. */
  readonly decodeTokensPerSecond: number | undefined;
  /** Reading everything up to the depth; undefined where no model read it. */
  readonly prefillTokensPerSecond: number | undefined;
  /** Share of a decode step beyond one at depth 1: attention, where nothing else grows. Ours only. */
  readonly attentionShare: number | undefined;
  /** Of all sequences at this depth. */
  readonly cacheBytes: number;
  /** The process, without the other caches that it holds for the comparison. */
  readonly residentBytes: number;
}

/** The document of `--json`. */
export interface ModelReport extends Machine {
  readonly model: string;
  readonly rows: readonly ModelRow[];
}

/** The peer's engine name and its best cache. */
export const peerEngine = "llama.cpp";

const columns: readonly Column[] = ["engine", "cache", "depth", "threads", "batch", "decode tok/s", "vs fp16", "vs peer", "prefill tok/s", "attention", "cache size", "resident"].map((title) => ({
  title,
  align: title === "engine" || title === "cache" ? "left" : "right",
}));

export function formatModelReport(report: ModelReport): string {
  const cells = report.rows.map((row) => [
    row.engine,
    row.cache,
    String(row.depth),
    String(row.threads),
    String(row.batch),
    formatOptional(row.decodeTokensPerSecond, (speed) => speed.toFixed(1)),
    formatOptional(compare(row, findOther(report.rows, row, (other) => other.engine !== peerEngine && other.cache === "fp16")), formatRatio),
    formatOptional(compare(row, findOther(report.rows, row, (other) => other.engine === peerEngine && other.cache === "f16")), formatRatio),
    formatOptional(row.prefillTokensPerSecond, (speed) => speed.toFixed(0)),
    formatOptional(row.attentionShare, formatShare),
    formatBytes(row.cacheBytes),
    formatBytes(row.residentBytes),
  ]);
  return `${formatMachine(report)}\n${report.model}; speeds are medians of interleaved rounds\n\n${formatTable(columns, cells)}`;
}

/** The row of the same depth, threads and batch that `matches`. */
function findOther(rows: readonly ModelRow[], row: ModelRow, matches: (other: ModelRow) => boolean): ModelRow | undefined {
  return rows.find((other) => other.depth === row.depth && other.threads === row.threads && other.batch === row.batch && isPrompt(other) === isPrompt(row) && matches(other));
}

/** How many times faster than the other row: decoding, or reading in rows of prompts. */
function compare(row: ModelRow, other: ModelRow | undefined): number | undefined {
  if (other === undefined || other === row) return undefined;
  const [own, theirs] = isPrompt(row) ? [row.prefillTokensPerSecond, other.prefillTokensPerSecond] : [row.decodeTokensPerSecond, other.decodeTokensPerSecond];
  return own === undefined || theirs === undefined ? undefined : own / theirs;
}

function isPrompt(row: ModelRow): boolean {
  return row.decodeTokensPerSecond === undefined;
}

function formatRatio(ratio: number): string {
  return `${ratio.toFixed(2)}x`;
}
