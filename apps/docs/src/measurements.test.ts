/** From an evaluation's report to the site's tables. */

import { expect, it } from "vitest";
import type { FidelityReport } from "@kvquant/eval";
import { addRows } from "./add-rows.mjs";
import { takeSections } from "./markdown.mjs";
import { measuredTable } from "./measured-table.mjs";
import { originOf } from "./measurements.mjs";

const figures = { bitsPerValue: 16, cacheBytesPerToken: 23040, perplexity: 15.7337238, deltaPerplexity: 0, deltaPerplexityError: 0, kldMean: 0, kldError: 0, kldMedian: 0, kld999: 0, top1: 1, tokensScored: 4094 };
const row = (cache: string, tail: number | null, others: Partial<typeof figures> = {}): unknown => ({ ...figures, cache, tail, ...others });
const report = (...rows: unknown[]): FidelityReport => ({ windows: [{ rows }] }) as unknown as FidelityReport;
const empty = { origins: { fp16: "floats", nuq: "the paper", "nuq3-1%+fb": "feedback" }, ladder: { text: "", steps: [] }, tables: [] };
const told = { title: "T", model: "M", text: "8 windows", machine: "CPU", date: "2026-11-23", command: "kvquant eval" };
const kept = report(row("fp16", null), row("nuq3-1%", 0, { bitsPerValue: 3.4567891, kldMean: 0.06719999, kldError: 0.0016, deltaPerplexity: 1.23, top1: 0.861 }), row("nuq3-1%", 64));

it("takes a report's rows of one tail, and replaces those of caches it has already", () => {
  const once = addRows(empty, kept, { id: "w", tail: 0, told });
  expect(once.tables[0]!.rows.map(({ cache, bitsPerValue }) => [cache, bitsPerValue])).toEqual([["fp16", 16], ["nuq3-1%", 3.45679]]);
  const twice = addRows(once, report(row("nuq3-1%", 0, { kldMean: 0.5 }), row("nuq2-1%", 0)), { id: "w", tail: 0, told: {} });
  expect(twice.tables).toHaveLength(1);
  expect(twice.tables[0]!.rows.map(({ cache, kldMean }) => [cache, kldMean])).toEqual([["fp16", 0], ["nuq3-1%", 0.5], ["nuq2-1%", 0]]);
  expect(() => addRows(empty, kept, { id: "w", tail: 0, told: {} })).toThrow("say its --title");
  expect(() => addRows(empty, kept, { id: "w", tail: 128, told })).toThrow("no rows with tail 128");
});

it("writes a table with errors, changes and what it was measured on", () => {
  const measurements = addRows(empty, kept, { id: "w", tail: 0, told });
  expect(measuredTable(measurements, { id: "w" })).toBe(
    [
      '<div class="measured">',
      "",
      "| cache | from | bits | bytes | KL, nats | perplexity | top-1 |",
      "|---|---|--:|--:|--:|--:|--:|",
      "| `fp16` | floats | 16.00 | 23,040 | 0 | 15.73 | 100.0% |",
      "| `nuq3-1%` | the paper | 3.46 | 23,040 | 0.0672 ± 0.0016 | +1.23 | 86.1% |",
      "",
      "</div>",
      "",
      "M; 8 windows, 4,094 tokens scored, no tail: every token a query sees is compressed. ± is one standard error. CPU, 2026-11-23.",
      "",
      "```sh",
      "kvquant eval",
      "```",
    ].join("\n"),
  );
  expect(measuredTable(measurements, { id: "w", caches: ["nuq3-1%"], note: false }).split("\n")).toHaveLength(7);
  expect(() => measuredTable(measurements, { id: "w", caches: ["kvq3"] })).toThrow('no row "kvq3"');
  expect(() => measuredTable(measurements, { id: "v" })).toThrow('no table "v"; there are w');
});

it("says whose a cache is by the longest beginning of its name", () => {
  expect(originOf(empty, "nuq3-1%")).toBe("the paper");
  expect(originOf(empty, "nuq3-1%+fb")).toBe("feedback");
  expect(() => originOf(empty, "kvq3")).toThrow('no beginning of "kvq3"');
});

it("takes sections of a text by their headings, in the order asked for, headings in code not among them", () => {
  const text = "# T\nintro\n## A\na\n```sh\n## B\n```\n### deeper\nd\n## B\nb\n";
  expect(takeSections(text, ["B", "A"])).toBe("## B\nb\n\n## A\na\n```sh\n## B\n```\n### deeper\nd");
  expect(takeSections("## Measured: here\nx\n## End", ["Measured"])).toBe("## Measured: here\nx");
  expect(() => takeSections(text, ["C"])).toThrow('no heading "C"; there are T, A, B');
});
