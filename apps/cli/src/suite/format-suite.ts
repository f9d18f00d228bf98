/** The figures of the fidelity suite as tables of text. */

import type { DriftSection, FidelityReport, LayerRow, RetrievalSection, WindowSection } from "@kvquant/eval";
import { formatChange, formatOptional, formatShare, formatSmall } from "../format.js";
import { formatScores, SCORE_TITLES } from "../format-scores.js";
import { formatTable } from "../table.js";
import type { Column } from "../table.js";

/** All sections, each a headed table. */
export function formatSuite(report: FidelityReport): string {
  const { model, engine } = { model: report.model.name, engine: report.model.engine };
  const sections = [
    `${model} on ${engine}; every row against the fp16 cache of the same engine; +- is one standard error, brackets hold 95%`,
    ...report.windows.map(formatWindows),
    ...(report.layers.length > 0 ? [formatLayers(report.layers)] : []),
    ...(report.drift === undefined ? [] : [formatDrift(report.drift)]),
    ...report.retrieval.map(formatRetrieval),
  ];
  return sections.join("\n\n");
}

function table(titles: readonly string[], cells: readonly (readonly string[])[]): string {
  const columns: Column[] = titles.map((title, index) => ({ title, align: index === 0 ? "left" : "right" }));
  return formatTable(columns, cells);
}

const formatTail = (tail: number | undefined): string => formatOptional(tail, String);
const formatBits = (bits: number | undefined): string => formatOptional(bits, (value) => value.toFixed(2));

function formatWindows({ length, windows, rows }: WindowSection): string {
  const titles = ["cache", "tail", "bits/value", "bytes/token", ...SCORE_TITLES];
  const cells = rows.map((row) => [
    row.cache,
    formatTail(row.tail),
    formatBits(row.bitsPerValue),
    row.cacheBytesPerToken.toFixed(0),
    ...formatScores(row),
  ]);
  const [first] = rows;
  const positions = first!.byPosition.map(({ from, to }) => `${from}-${to! - 1}`);
  const places = rows.filter((row) => row.tail !== undefined).map((row) => [row.cache, formatTail(row.tail), ...row.byPosition.map(({ kldMean }) => formatOptional(kldMean, formatSmall))]);
  const distances = first!.byDistance.map(({ range }) => (range === undefined ? "new" : range.to === undefined ? `${range.from}+` : `${range.from}-${range.to - 1}`));
  const seen = rows.filter((row) => row.tail !== undefined).map((row) => [row.cache, formatTail(row.tail), ...row.byDistance.map(({ kldMean }) => formatOptional(kldMean, formatSmall))]);
  return [
    `Windows: ${windows} x ${length} tokens\n\n${table(titles, cells)}`,
    ...(places.length === 0 ? [] : [`KL mean by place in the window\n\n${table(["cache", "tail", ...positions], places)}`, `KL mean by distance to where the next token was seen last\n\n${table(["cache", "tail", ...distances], seen)}`]),
  ].join("\n");
}

function formatLayers(rows: readonly LayerRow[]): string {
  const mean = (values: readonly (number | undefined)[]): string => {
    const known = values.filter((value) => value !== undefined);
    return known.length === 0 ? "-" : formatSmall(known.reduce((sum, value) => sum + value, 0) / known.length);
  };
  const worst = (values: readonly (number | undefined)[]): string => {
    const largest = values.reduce<number>((most, value, layer) => ((value ?? -1) > (values[most] ?? -1) ? layer : most), 0);
    return values[largest] === undefined ? "-" : `${formatSmall(values[largest])} in ${largest}`;
  };
  const cells = rows.map(({ cache, layers }) => {
    const keys = layers.map(({ key }) => key);
    const values = layers.map(({ value }) => value);
    return [cache, mean(keys), worst(keys), mean(values), worst(values)];
  });
  return `Pages by layer: relative squared error\n\n${table(["cache", "keys, mean", "worst layer", "values, mean", "worst layer"], cells)}`;
}

function formatDrift({ prompts, promptTokens, tokens, rows }: DriftSection): string {
  const titles = ["cache", "tail", "KL mean", "+-", "top-1", "equal tokens", "+-", "identical", "free agreement", "+-"];
  const cells = rows.map((row) => [
    row.cache,
    formatTail(row.tail),
    formatSmall(row.kldMean),
    formatOptional(row.kldError, formatSmall),
    formatShare(row.top1),
    row.equalTokens.toFixed(1),
    formatOptional(row.equalTokensError, (error) => error.toFixed(1)),
    `${row.identical} of ${row.prompts}`,
    formatShare(row.freeAgreement),
    formatOptional(row.freeAgreementError, formatShare),
  ]);
  return `Drift: ${prompts} greedy continuations of up to ${tokens} tokens after ${promptTokens}; KL and top-1 along fp16's text, the rest running freely\n\n${table(titles, cells)}`;
}

function formatRetrieval({ part, length, conclusive, rows }: RetrievalSection): string {
  const depths = rows[0]!.byDepth.map(({ depth }) => `at ${depth}`);
  const cells = rows.map((row) => [
    row.cache,
    formatTail(row.tail),
    `${row.passed} of ${row.trials}`,
    `${formatShare(row.interval.low)} to ${formatShare(row.interval.high)}`,
    row.logProbability.toFixed(2),
    formatChange(row.logProbabilityChange),
    formatOptional(row.logProbabilityChangeError, (error) => error.toFixed(3)),
    ...row.byDepth.map(({ passed, trials }) => `${passed}/${trials}`),
  ]);
  const verdict = conclusive ? "" : " - not conclusive: fp16 itself passes fewer than 80%";
  return `${part[0]!.toUpperCase()}${part.slice(1)}, ${length} tokens${verdict}\n\n${table(["cache", "tail", "passed", "95%", "log p of answer", "change", "+-", ...depths], cells)}`;
}
