/** Layers, drift and retrieval. */

import type { DriftRow, DriftSection, LayerRow, RetrievalSection } from "../suite/suite-report.js";
import { change, count, fixed, interval, percent, small, tailName } from "./figures.js";
import { drawTable } from "./html-table.js";
import { drawLines } from "./lines-plot.js";
import type { Series } from "./lines-plot.js";
import { element } from "./markup.js";
import type { Content } from "./markup.js";
import { drawGrids } from "./retrieval-grid.js";
import { nameCell, rowClass } from "./windows-section.js";
import type { LookOf } from "./windows-section.js";

/** Errors of pages, layer by layer. */
export function drawLayers(rows: readonly LayerRow[], lookOf: LookOf): Content {
  if (rows.length === 0) return undefined;
  const plot = (side: "key" | "value"): Content => {
    const series = rows.map(({ cache, layers }): Series => ({
      name: cache,
      look: lookOf(cache),
      points: layers.map((layer, index) => (layer[side] === undefined ? undefined : { value: layer[side], title: `${cache}, layer ${index}: ${small(layer[side])}` })),
    }));
    return element(
      "figure",
      {},
      element("figcaption", {}, element("b", {}, `${side}s`)),
      drawLines({ description: `relative error of ${side}s by layer`, xTitle: "layer", yTitle: "squared error / energy", places: rows[0]!.layers.map((_, index) => String(index)), scale: "log", series }),
    );
  };
  return [
    element("h2", {}, "Pages by layer"),
    element("p", {}, "How far what a page gives back is from the keys and values that went in, as squared error over energy, on exact activations of one window. It weighs every value the same; what a layer's error costs is another matter."),
    element("div", { class: "plots" }, plot("key"), plot("value")),
  ];
}

/** Continuations. */
export function drawDrift({ prompts, promptTokens, tokens, rows }: DriftSection, tails: readonly number[], lookOf: LookOf): Content {
  const compressed = rows.filter((row) => row.tail !== undefined);
  const plot = (tail: number, kind: "kldMean" | "equal"): Content => {
    const own = compressed.filter((row) => row.tail === tail);
    const longest = own.reduce<DriftRow["curve"]>((most, { curve }) => (curve.length > most.length ? curve : most), []);
    const words = kind === "kldMean" ? "divergence along fp16's text" : "share of tokens equal to fp16's when running freely";
    return element(
      "figure",
      {},
      element("figcaption", {}, element("b", {}, tailName(tail)), `: ${words}`),
      drawLines({
        description: `${words}, ${tailName(tail)}`,
        xTitle: "tokens generated",
        yTitle: kind === "kldMean" ? "mean KL divergence, nats" : "share equal",
        places: longest.map(({ from, to }) => `${from + 1}–${to ?? ""}`),
        scale: kind === "kldMean" ? "log" : "share",
        series: own.map(({ cache, curve }) => ({
          name: cache,
          look: lookOf(cache),
          points: curve.map((step) => ({ value: step[kind], title: `${cache}, ${step.from + 1}–${step.to ?? ""}: KL ${small(step.kldMean)}, top-1 ${percent(step.top1)}, equal ${percent(step.equal)}, identical so far ${percent(step.untilHere)}` })),
        })),
      }),
    );
  };
  return [
    element("h2", {}, "Drift while generating"),
    element(
      "p",
      {},
      `${prompts} prompts of ${count(promptTokens)} tokens, continued greedily by up to ${tokens} tokens through decode steps. Teacher-forced: every cache is fed fp16's tokens. Free: it is fed its own. “Equal tokens” are those before the first difference. Without a tail, pages close as soon as they are full.`,
    ),
    drawTable(
      ["cache", "tail", "KL mean", "±", "top-1", "equal tokens", "±", "identical", "free agreement", "±"],
      rows.map((row, index) => ({
        className: rowClass(row, rows[index + 1]),
        cells: [nameCell(row.cache, lookOf), tailName(row.tail), small(row.kldMean), small(row.kldError), percent(row.top1), fixed(row.equalTokens, 1), fixed(row.equalTokensError, 1), `${row.identical}/${row.prompts}`, percent(row.freeAgreement), percent(row.freeAgreementError)],
      })),
    ),
    compressed.length === 0 ? undefined : element("div", { class: "plots" }, tails.map((tail) => [plot(tail, "kldMean"), plot(tail, "equal")])),
  ];
}

const RETRIEVAL_WORDS = {
  passkey: "A number of up to five digits is hidden in repeated sentences; the first number the model writes must be it.",
  needle: "A sentence about San Francisco is hidden in the text; the model must write both halves of it.",
  multikey: "Four numbers of seven digits are hidden, each for a key; the model must write the one that belongs to the key asked for.",
} as const;

/** All lengths of one task. */
export function drawRetrieval(sections: readonly RetrievalSection[], lookOf: LookOf): Content {
  const [first] = sections;
  if (first === undefined) return undefined;
  const inconclusive = sections.filter(({ conclusive }) => !conclusive);
  return [
    element("h2", {}, `${first.part[0]!.toUpperCase()}${first.part.slice(1)}`),
    element(
      "p",
      {},
      `${RETRIEVAL_WORDS[first.part]} Trials found of trials run, by depth (down) and prompt length (across). The log-probability is that of the right answer, teacher-forced.`,
      inconclusive.length === 0 ? undefined : ` * At ${inconclusive.map(({ length }) => count(length)).join(" and ")} tokens fp16 itself finds fewer than 80%: shown, but not conclusive.`,
    ),
    element("div", { class: "grids" }, drawGrids(sections)),
    sections.map(({ length, conclusive, promptTokens, rows }) => [
      element("h3", {}, `${count(length)} tokens${conclusive ? "" : " – not conclusive"}`, ` (prompts of ${count(promptTokens)} on average)`),
      drawTable(
        ["cache", "tail", "found", "share", "95% (Wilson)", "log p of answer", "±", "against fp16", "±"],
        rows.map((row, index) => ({
          className: rowClass(row, rows[index + 1]),
          cells: [
            nameCell(row.cache, lookOf),
            tailName(row.tail),
            `${row.passed}/${row.trials}`,
            percent(row.share, 0),
            interval(row.interval, (value) => percent(value, 0)),
            fixed(row.logProbability, 2),
            fixed(row.logProbabilityError, 2),
            change(row.logProbabilityChange, 2),
            fixed(row.logProbabilityChangeError, 2),
          ],
        })),
      ),
    ]),
  ];
}
