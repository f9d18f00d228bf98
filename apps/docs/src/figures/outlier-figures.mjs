// Figures of outliers: one channel's values with its levels, and errors layer by layer.
import * as Plot from "@observablehq/plot";
import { at, colour, figure, label, plot } from "./drawing.mjs";

/** @typedef {import("./measure.mjs").FigureData} FigureData */

const [blue, orange] = colour.series;

/** Histogram of one key channel with the thresholds of 1%, and the eight levels that 3 bits get without and with outliers kept apart. @param {FigureData} data */
export function outlierThresholds({ channel, layer, headDim }) {
  const { values, low, high, wide, narrow } = channel;
  const counts = histogram(values, 80);
  const share = values.filter((value) => value < low || value > high).length / values.length;
  const levels = [...wide.map((level) => ({ level, row: "min to max" })), ...narrow.map((level) => ({ level, row: "within thresholds" }))];
  const x = { domain: [Math.min(counts[0]?.from ?? 0, ...wide), Math.max(counts.at(-1)?.to ?? 0, ...wide)] };
  const shared = { width: 740, marginLeft: 130, marginRight: 24 };
  const bars = plot({
    ...shared,
    height: 220,
    x: { ...x, label: null, tickSize: 3 },
    y: { type: "sqrt", label: "tokens (root scale)", grid: true, ticks: 5, tickSize: 3 },
    marks: [
      Plot.rectY(counts, { x1: "from", x2: "to", y: "count", fill: (/** @type {{ from: number, to: number }} */ bin) => (bin.to <= low || bin.from >= high ? orange : blue), insetLeft: 0.5, insetRight: 0.5 }),
      Plot.ruleX([low, high], { stroke: colour.ink, strokeDasharray: "4 3" }),
    ],
  });
  const rows = plot({
    ...shared,
    height: 96,
    marginTop: 10,
    x: { ...x, label: `value of key channel ${channel.channel % headDim} of head ${Math.floor(channel.channel / headDim)}, layer ${layer}, before RoPE`, tickSize: 3 },
    y: { label: null, tickSize: 0 },
    marks: [Plot.tickX(levels, { x: "level", y: "row", stroke: (/** @type {{ row: string }} */ each) => (each.row === "min to max" ? orange : blue), strokeWidth: 2.5 })],
  });
  return figure(760, 350, [
    label(130, 18, `${(100 * share).toFixed(1)}% of the tokens lie outside the thresholds`, { fill: colour.ink, bold: true }),
    at(0, 24, bars),
    at(0, 246, rows),
    label(4, 244, "8 levels of 3 bits:", { size: 12 }),
  ]);
}

/** Relative squared error of keys and values by layer, with and without 1% kept apart. @param {FigureData} data */
export function outlierErrors({ keyErrors, valueErrors }) {
  const side = (/** @type {Readonly<Record<string, readonly number[]>>} */ errors, /** @type {string} */ title, /** @type {boolean} */ named) => {
    const series = ["nuq3", "nuq3-1%"].map((cache) => (errors[cache] ?? []).map((error, layer) => ({ layer, error: 100 * error, cache })));
    return plot({
      width: 372,
      height: 250,
      marginLeft: 44,
      marginRight: named ? 74 : 14,
      marginTop: 30,
      x: { label: "layer", ticks: 6, tickSize: 3 },
      y: { label: `${title}: squared error, % of energy`, grid: true, zero: true, nice: true, ticks: 5, tickSize: 3 },
      marks: [
        ...series.map((rows, index) => Plot.line(rows, { x: "layer", y: "error", stroke: [orange, blue][index] ?? blue, strokeWidth: 1.8 })),
        ...series.map((rows, index) => Plot.dot(rows, { x: "layer", y: "error", fill: [orange, blue][index] ?? blue, r: 2 })),
        ...(named ? series.map((rows, index) => Plot.text(rows.slice(-1), { x: "layer", y: "error", text: "cache", dx: 8, textAnchor: "start", fill: [orange, blue][index] ?? blue, fontWeight: 600 })) : []),
      ],
    });
  };
  return figure(760, 262, [at(0, 6, side(keyErrors, "keys", false)), at(380, 6, side(valueErrors, "values", true))]);
}

/** Mean relative error of keys over the layers, by what they are quantized along. @param {FigureData} data */
export function keyErrorLadder({ keyErrors }) {
  const names = /** @type {const} */ ([
    ["keys-token-post", "per token, after RoPE"],
    ["keys-channel-post", "per channel, after RoPE"],
    ["keys-channel-pre", "per channel, before RoPE"],
    ["nuq3", "the same, learned levels"],
    ["nuq3-1%", "the same, 1% outliers apart"],
  ]);
  const rows = names.map(([cache, name]) => ({ name, error: 100 * mean(keyErrors[cache] ?? []) }));
  const bars = plot({
    width: 740,
    height: 200,
    marginLeft: 190,
    marginRight: 60,
    x: { label: "squared error of keys at 3 bits, % of their energy, mean over layers", grid: true, tickSize: 3 },
    y: { label: null, domain: rows.map(({ name }) => name), tickSize: 0 },
    marks: [
      Plot.barX(rows, { x: "error", y: "name", fill: blue, insetTop: 3, insetBottom: 3 }),
      Plot.text(rows, { x: "error", y: "name", text: (/** @type {{ error: number }} */ row) => `${row.error.toFixed(1)}%`, dx: 5, textAnchor: "start", fill: colour.ink }),
    ],
  });
  return figure(760, 210, [at(0, 5, bars)]);
}

/** @param {readonly number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** @param {readonly number[]} values @param {number} bins @returns {{ from: number, to: number, count: number }[]} */
function histogram(values, bins) {
  const minimum = Math.min(...values);
  const width = (Math.max(...values) - minimum) / bins;
  const counts = Array.from({ length: bins }, (_, index) => ({ from: minimum + index * width, to: minimum + (index + 1) * width, count: 0 }));
  for (const value of values) {
    const bin = counts[Math.min(bins - 1, Math.floor((value - minimum) / width))];
    if (bin !== undefined) bin.count++;
  }
  return counts;
}
