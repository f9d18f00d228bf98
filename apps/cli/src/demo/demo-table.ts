/** The demo's table. */

import { formatBytes, formatOptional, formatShare, formatSmall } from "../format.js";
import { formatTable } from "../table.js";
import type { Column } from "../table.js";
import type { DemoReport } from "./run-demo.js";

/** One row a cache, under a line that says what was measured. */
export function formatDemoTable(report: DemoReport): string {
  const right = (title: string): Column => ({ title, align: "right" });
  const columns: Column[] = [
    { title: "cache", align: "left" },
    right("bits/value"),
    right(`bytes at ${report.bytesAtTokens / 1024}K`),
    right("ppl tail 0"),
    right("ppl tail 64"),
    right("KL tail 0"),
    right("KL tail 64"),
    right("top-1 tail 0"),
    right("top-1 tail 64"),
    right("tokens"),
  ];
  const cells = report.rows.map((row) => [
    row.cache,
    formatOptional(row.bitsPerValue, (bits) => bits.toFixed(2)),
    formatOptional(row.cacheBytes, formatBytes),
    row.noTail.perplexity.toFixed(3),
    row.tail.perplexity.toFixed(3),
    formatSmall(row.noTail.kldMean),
    formatSmall(row.tail.kldMean),
    formatShare(row.noTail.top1),
    formatShare(row.tail.top1),
    String(row.tail.tokensScored),
  ]);
  return `\n${report.model} on ${report.engine}, one window of ${report.context} tokens of its own text, 1 sink token\n\n${formatTable(columns, cells)}`;
}
