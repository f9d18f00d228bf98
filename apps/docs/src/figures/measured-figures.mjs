// Figures of measured divergences; they need the data file and no model.
import * as Plot from "@observablehq/plot";
import { at, colour, figure, label, plot } from "./drawing.mjs";
import { findTable, originOf } from "../measurements.mjs";

/** @typedef {import("../measurements.mjs").Measurements} Measurements */

const [blue, orange, green] = colour.series;

/** Where the plot of bits lies, and what it spans. */
const BITS = { width: 750, height: 600, left: 56, right: 50, top: 26, bottom: 44, bits: /** @type {const} */ ([0.95, 9.2]), nats: /** @type {const} */ ([0.00004, 5]) };

/** Bits a value against KL divergence, by who a cache is from. @param {Measurements} measurements @param {string} id of the table */
export function bitsAndDivergence(measurements, id) {
  const rows = findTable(measurements, id)
    .rows.filter(({ kldMean }) => kldMean > 0)
    .map((row) => ({ ...row, group: groupOf(originOf(measurements, row.cache)) }));
  const front = rows.filter((row) => !rows.some((other) => other !== row && other.bitsPerValue <= row.bitsPerValue && other.kldMean < row.kldMean)).sort((a, b) => a.bitsPerValue - b.bitsPerValue);
  const colours = new Map([["this project", blue], ["KVQuant", green], ["others", orange]]);
  const fill = (/** @type {{ group: string }} */ { group }) => colours.get(group) ?? orange;
  const place = { x: "bitsPerValue", y: "kldMean" };
  // The axes' texts are given: a logarithmic scale would leave out most of them.
  const text = (/** @type {number} */ value) => String(value);
  const names = placeNames(rows);
  const dots = plot({
    width: BITS.width,
    height: BITS.height,
    marginLeft: BITS.left,
    marginRight: BITS.right,
    marginTop: BITS.top,
    x: { type: "log", domain: [...BITS.bits], axis: null },
    y: { type: "log", domain: [...BITS.nats], axis: null },
    marks: [
      Plot.gridY([0.0001, 0.001, 0.01, 0.1, 1], { stroke: colour.rule, strokeOpacity: 1 }),
      Plot.axisX([1, 2, 3, 4, 5, 6, 8], { text, label: "true bits a value", labelOffset: 38, tickSize: 3 }),
      Plot.axisY([0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3], { text, label: "mean KL divergence from fp16, nats", tickSize: 3 }),
      Plot.line(front, { ...place, stroke: colour.quiet, strokeDasharray: "5 4", strokeWidth: 1.3 }),
      Plot.dot(rows, { ...place, fill, r: 4, stroke: colour.ground, strokeWidth: 1 }),
      ...[1, -1].map((side) =>
        Plot.text(names.get(side) ?? [], { ...place, text: "cache", dx: 8 * side, textAnchor: side > 0 ? "start" : "end", fill, fontSize: 11, stroke: colour.ground, strokeWidth: 3 }),
      ),
    ],
  });
  const legend = [...colours].map(([name, own], index) => label(430 + 110 * index, 16, name, { fill: own, bold: true }));
  return figure(760, 620, [at(0, 18, dots), ...legend]);
}

/** The paper's steps, one after another, as bars. @param {Measurements} measurements */
export function ladder({ ladder: { steps } }) {
  const bars = plot({
    width: 740,
    height: 220,
    marginLeft: 240,
    marginRight: 60,
    x: { label: "mean KL divergence from fp16 at 3 bits, nats", grid: true },
    y: { label: null, domain: steps.map((step) => step.label), tickSize: 0 },
    marks: [
      Plot.barX(steps, { x: "kldMean", y: "label", fill: blue, insetTop: 3, insetBottom: 3 }),
      Plot.text(steps, { x: "kldMean", y: "label", text: (/** @type {{ kldMean: number }} */ step) => String(step.kldMean), dx: 5, textAnchor: "start", fill: colour.ink }),
    ],
  });
  return figure(760, 230, [at(0, 5, bars)]);
}

/** @param {string} origin */
function groupOf(origin) {
  return origin.startsWith("this project") ? "this project" : origin.startsWith("KVQuant") ? "KVQuant" : "others";
}

/**
 * On which side of its dot each name stands: 1 right, -1 left. A name that would lie on another one on both sides is left out; the table has it.
 * @template {{ readonly bitsPerValue: number, readonly kldMean: number, readonly cache: string, readonly group: string }} Row
 * @param {readonly Row[]} rows @returns {Map<number, Row[]>}
 */
function placeNames(rows) {
  const pixels = (/** @type {number} */ value, /** @type {readonly [number, number]} */ [low, high], /** @type {number} */ from, /** @type {number} */ to) => from + (Math.log(value / low) / Math.log(high / low)) * (to - from);
  const dots = rows.map((row) => ({ row, x: pixels(row.bitsPerValue, BITS.bits, BITS.left, BITS.width - BITS.right), y: pixels(row.kldMean, BITS.nats, BITS.height - BITS.bottom, BITS.top) }));
  /** @type {{ left: number, right: number, y: number }[]} */
  const taken = dots.map(({ x, y }) => ({ left: x - 4, right: x + 4, y }));
  /** @type {Map<number, Row[]>} */
  const names = new Map([[1, []], [-1, []]]);
  const rank = (/** @type {Row} */ row) => (row.group === "others" ? 1 : 0);
  for (const { row, x, y } of [...dots].sort((a, b) => rank(a.row) - rank(b.row) || b.y - a.y)) {
    const width = 6.6 * row.cache.length;
    for (const side of [1, -1]) {
      const box = side > 0 ? { left: x + 7, right: x + 7 + width, y } : { left: x - 7 - width, right: x - 7, y };
      const free = box.left > BITS.left && box.right < BITS.width && taken.every((other) => Math.abs(other.y - y) > 11 || other.right < box.left || other.left > box.right);
      if (!free) continue;
      taken.push(box);
      names.get(side)?.push(row);
      break;
    }
  }
  return names;
}
