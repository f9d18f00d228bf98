// Figures of keys and values as the model makes them.
import * as Plot from "@observablehq/plot";
import { at, colour, figure, label, plot } from "./drawing.mjs";
import { colourScale, heatMap } from "./heat-map.mjs";

/** @typedef {import("./measure.mjs").FigureData} FigureData */

/** Keys before RoPE beside values: channels of keys have sizes of their own. @param {FigureData} data */
export function keysByChannel({ keys, values, layer }) {
  const [keyEnd, valueEnd] = [colourEnd(keys.values), colourEnd(values.values)];
  const shared = { width: 290, height: 230 };
  return figure(760, 300, [
    at(30, 30, heatMap(keys, { ...shared, title: `|key| before RoPE, layer ${layer}`, maximum: keyEnd })),
    colourScale({ x: 328, y: 30, height: 230, maximum: keyEnd }),
    at(408, 30, heatMap(values, { ...shared, title: `|value|, layer ${layer}`, maximum: valueEnd })),
    colourScale({ x: 706, y: 30, height: 230, maximum: valueEnd }),
  ]);
}

/** One head's keys before and after RoPE, and one channel of it token by token. @param {FigureData} data */
export function keysBeforeAndAfterRope({ keys, rotatedKeys, head, headDim, layer, trace }) {
  const maximum = colourEnd(keys.values);
  const columns = /** @type {const} */ ([head * headDim, (head + 1) * headDim]);
  const shared = { width: 300, height: 170, maximum, columns };
  const rows = (/** @type {readonly number[]} */ values) => values.map((value, index) => ({ token: index + 1, value }));
  const lines = plot({
    width: 740,
    height: 190,
    marginLeft: 44,
    marginRight: 20,
    x: { label: "token", tickSize: 3 },
    y: { label: `channel ${trace.channel % headDim}`, grid: true, ticks: 5, tickSize: 3 },
    marks: [
      Plot.line(rows(trace.after), { x: "token", y: "value", stroke: colour.series[1], strokeWidth: 1.2 }),
      Plot.line(rows(trace.before), { x: "token", y: "value", stroke: colour.series[0], strokeWidth: 1.6 }),
    ],
  });
  return figure(760, 450, [
    at(30, 30, heatMap(keys, { ...shared, title: `|key| before RoPE, layer ${layer}, head ${head}` })),
    at(382, 30, heatMap(rotatedKeys, { ...shared, title: "the same keys after RoPE" })),
    colourScale({ x: 694, y: 30, height: 170, maximum }),
    at(0, 258, lines),
    label(540, 262, "before RoPE", { fill: colour.series[0], bold: true }),
    label(650, 262, "after RoPE", { fill: colour.series[1], bold: true }),
  ]);
}

/** Where 99.5% of the numbers are below: a few large ones would leave the rest dark. @param {readonly number[]} values */
function colourEnd(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const end = /** @type {number} */ (sorted[Math.floor(0.995 * sorted.length)]);
  return end >= 4 ? Math.round(end) : Math.round(10 * end) / 10;
}
