/** Perplexity and KL divergence: error against bits, tables, places and distances. */

import type { NumberRange } from "../suite/position-groups.js";
import type { FidelityReport, GroupScores, WindowRow, WindowSection } from "../suite/suite-report.js";
import { drawBits } from "./bits-plot.js";
import { change, count, fixed, percent, plusMinus, rough, small, tailName, withBounds } from "./figures.js";
import { drawTable } from "./html-table.js";
import type { TableRow } from "./html-table.js";
import { drawLines } from "./lines-plot.js";
import { element } from "./markup.js";
import type { Content, Markup } from "./markup.js";
import type { SeriesLook } from "./series.js";

/** How caches look. */
export type LookOf = (cache: string) => SeriesLook;

/** Error against true bits at the shortest windows, one plot a tail, with the front in words. */
export function drawFronts({ windows, pareto, protocol }: FidelityReport, lookOf: LookOf): Content {
  const [section] = windows;
  if (section === undefined) return undefined;
  const plots = protocol.tails.flatMap((tail) => {
    const rows = section.rows.filter((row) => row.tail === tail);
    const front = pareto.filter((point) => point.tail === tail);
    const plot = drawBits({ description: `KL divergence against bits per value, ${tailName(tail)}`, rows, front, lookOf });
    return plot.markup === "" ? [] : [element("figure", {}, element("figcaption", {}, element("b", {}, tailName(tail)), `: bars hold 95%; the dashed line is the Pareto front`), plot)];
  });
  if (plots.length === 0) return undefined;
  const names = protocol.tails.map((tail) => [element("b", {}, `${tailName(tail)}: `), pareto.filter((point) => point.tail === tail).map(({ cache, bitsPerValue }) => `${cache} (${fixed(bitsPerValue, 2)})`).join(", ") || "–", ". "]);
  return [element("h2", {}, "Error against true bits"), element("p", {}, `Windows of ${count(section.length)} tokens. On the front, which no other cache of the same tail beats in both bits and divergence: `, names), element("div", { class: "plots" }, plots)];
}

/** The figures of one window length. */
export function drawWindows(section: WindowSection, report: FidelityReport, lookOf: LookOf): Content {
  const { length, windows, rows, beginningOfText } = section;
  const compressed = rows.filter((row) => row.tail !== undefined);
  const onFront = new Set(section === report.windows[0] ? report.pareto.map(({ cache, tail }) => `${cache} ${tail}`) : []);
  const placeNames = rows[0]!.byPosition.map(writeRange);
  const distanceNames = rows[0]!.byDistance.map(({ range }) => (range === undefined ? "new" : writeRange(range)));
  return [
    element("h2", {}, `Windows of ${count(length)} tokens`),
    element("p", {}, `${windows === 1 ? "One window" : `${windows} windows`}, ${count(rows[0]!.tokensScored)} tokens scored${beginningOfText ? ", each window begun with the beginning-of-text token" : ""}. ± and brackets hold 95%: 1.96 standard errors from batches of 64 neighbouring tokens, and for quantiles the bootstrap over such batches.`),
    drawTable(
      ["cache", "tail", "bits/value", "keys, values", "bytes/token", "perplexity", "change", "KL mean", "KL median", "KL 99.9%", "top-1", "s/window"],
      rows.map((row, index) => ({ className: rowClass(row, rows[index + 1], onFront.has(`${row.cache} ${row.tail}`)), cells: windowCells(row, lookOf) })),
    ),
    compressed.length === 0
      ? undefined
      : [
          element("h3", {}, "By place in the window"),
          element(
            "div",
            { class: "plots" },
            report.protocol.tails.map((tail) => {
              const own = compressed.filter((row) => row.tail === tail);
              return element(
                "figure",
                {},
                element("figcaption", {}, element("b", {}, tailName(tail)), tail === 0 ? "" : `: at ${own[0]!.byPosition.map(({ compressedShare }) => percent(compressedShare, 0)).join(", ")} of the context compressed`),
                drawGroups(own, { places: placeNames, xTitle: "position in the window", description: `KL divergence by position, ${tailName(tail)}`, groupsOf: (row) => row.byPosition.map((group) => (group.compressedShare === 0 ? { ...group, kldMean: undefined } : group)), lookOf }),
              );
            }),
          ),
          element("h3", {}, "By distance to where the next token was seen last"),
          element("p", {}, "Tokens that were seen before can be copied from there; those groups show what is lost at which distance. “New” tokens do not occur earlier in the window."),
          element(
            "div",
            { class: "plots" },
            report.protocol.tails.map((tail) =>
              element(
                "figure",
                {},
                element("figcaption", {}, element("b", {}, tailName(tail))),
                drawGroups(compressed.filter((row) => row.tail === tail), { places: distanceNames, xTitle: "tokens back", description: `KL divergence by distance, ${tailName(tail)}`, groupsOf: (row) => row.byDistance, lookOf }),
              ),
            ),
          ),
        ],
  ];
}

function windowCells(row: WindowRow, lookOf: LookOf): Content[] {
  const { intervals } = row;
  return [
    nameCell(row.cache, lookOf),
    tailName(row.tail),
    fixed(row.bitsPerValue, 2),
    `${fixed(row.keyBits, 2)}, ${fixed(row.valueBits, 2)}`,
    count(row.cacheBytesPerToken),
    fixed(row.perplexity, 3),
    plusMinus(change(row.deltaPerplexity, 3), intervals.deltaPerplexity, (half) => fixed(half, 3)),
    plusMinus(small(row.kldMean), intervals.kldMean, rough),
    small(row.kldMedian),
    withBounds(small(row.kld999), intervals.kld999),
    plusMinus(percent(row.top1), intervals.top1, percent),
    fixed(row.secondsPerWindow, 1),
  ];
}

/** A cache's name with the colour it has in plots. */
export function nameCell(cache: string, lookOf: LookOf): Content {
  return [element("span", { class: `swatch ${lookOf(cache).className}` }), cache];
}

/** The class of a row among others: fp16 is quiet, the last row of a tail ends a group. */
export function rowClass(row: { readonly tail: number | undefined }, next: { readonly tail: number | undefined } | undefined, best = false): TableRow["className"] {
  const names = [...(row.tail === undefined ? ["exact"] : []), ...(best ? ["best"] : []), ...(next !== undefined && next.tail !== row.tail ? ["group"] : [])];
  return names.length === 0 ? undefined : names.join(" ");
}

function writeRange({ from, to }: NumberRange): string {
  return to === undefined ? `${from}+` : `${from}–${to - 1}`;
}

interface GroupsPlot {
  readonly places: readonly string[];
  readonly xTitle: string;
  readonly description: string;
  readonly groupsOf: (row: WindowRow) => readonly GroupScores[];
  readonly lookOf: LookOf;
}

function drawGroups(rows: readonly WindowRow[], { places, xTitle, description, groupsOf, lookOf }: GroupsPlot): Markup {
  return drawLines({
    description,
    xTitle,
    yTitle: "mean KL divergence, nats",
    places,
    scale: "log",
    series: rows.map((row) => ({
      name: row.cache,
      look: lookOf(row.cache),
      points: groupsOf(row).map(({ kldMean, kldError, top1, tokens }, index) =>
        kldMean === undefined ? undefined : { value: kldMean, error: kldError, title: `${row.cache}, ${places[index]!}: KL ${small(kldMean)} ± ${small(kldError)}, top-1 ${percent(top1)}, ${count(tokens)} tokens` },
      ),
    })),
  });
}
