/** What `kvquant bench attention` found, as JSON and as a table. */

import { formatTable } from "../table.js";
import type { Column } from "../table.js";
import { formatMachine } from "./machine.js";
import type { Machine } from "./machine.js";

/** One cache of one size on one number of threads. */
export interface AttentionRow {
  readonly headDim: number;
  /** Query heads of a KV head. */
  readonly group: number;
  readonly tokens: number;
  readonly threads: number;
  readonly cache: string;
  /** Median time of one query in all layers, divided by tokens * kvHeads * layers. */
  readonly nanosecondsPerTokenHead: number;
  /** How many times faster than the fp16 cache: median of the ratio within each round. */
  readonly ratioToFp16: number;
  /** Stored bytes read, over the median time. */
  readonly gigabytesPerSecond: number;
  /** Largest difference from float64 over the stored tokens. */
  readonly maxError: number;
}

/** The document of `--json`. */
export interface AttentionReport extends Machine {
  /** Gigabytes a second that each number of threads reads. */
  readonly readBandwidth: Readonly<Record<string, number>>;
  readonly rows: readonly AttentionRow[];
}

const columns: readonly Column[] = ["head dim", "group", "tokens", "threads", "cache", "ns/token/head", "vs fp16", "GB/s", "max error"].map((title) => ({
  title,
  align: title === "cache" ? "left" : "right",
}));

export function formatAttentionReport(report: AttentionReport): string {
  const cells = report.rows.map((row) => [
    String(row.headDim),
    String(row.group),
    String(row.tokens),
    String(row.threads),
    row.cache,
    row.nanosecondsPerTokenHead.toFixed(2),
    `${row.ratioToFp16.toFixed(2)}x`,
    row.gigabytesPerSecond.toFixed(1),
    row.maxError.toExponential(1),
  ]);
  return `${formatMachine(report, report.readBandwidth)}\ndecode attention alone, one query, cold, against an fp16 flash-decode of the same backend\n\n${formatTable(columns, cells)}`;
}
