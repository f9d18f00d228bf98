// A table of measured figures as Markdown.
import { findTable, originOf } from "./measurements.mjs";

/** @typedef {import("./measurements.mjs").Measurements} Measurements */
/** @typedef {import("./measurements.mjs").MeasuredRow} MeasuredRow */

/**
 * A table with what it was measured on below it. Rows are in the order asked for, or all of them by their bits.
 * @param {Measurements} measurements
 * @param {{ id: string, caches?: readonly string[] | undefined, note?: boolean }} options `note: false` leaves out what is below
 * @returns {string}
 */
export function measuredTable(measurements, { id, caches, note = true }) {
  const table = findTable(measurements, id);
  const rows = caches === undefined ? [...table.rows].sort(byBits) : caches.map((name) => findRow(table.rows, name, id));
  const cells = rows.map((row) => {
    const exact = row.kldMean === 0;
    return [
      `\`${row.cache}\``,
      originOf(measurements, row.cache),
      row.bitsPerValue.toFixed(2),
      bytes(row.cacheBytesPerToken),
      exact ? "0" : `${row.kldMean.toFixed(4)} ± ${error(row.kldError)}`,
      exact ? row.perplexity.toFixed(2) : `${row.deltaPerplexity >= 0 ? "+" : "−"}${Math.abs(row.deltaPerplexity).toFixed(2)}`,
      `${(100 * row.top1).toFixed(1)}%`,
    ].join(" | ");
  });
  const head = "| cache | from | bits | bytes | KL, nats | perplexity | top-1 |\n|---|---|--:|--:|--:|--:|--:|";
  // The element keeps the names in sight where the table scrolls sideways.
  const drawn = `<div class="measured">\n\n${head}\n${cells.map((line) => `| ${line} |`).join("\n")}\n\n</div>`;
  if (!note) return drawn;
  const { model, text, tokensScored, tail, machine, date, command } = table;
  const told = `${model}; ${text}, ${tokensScored.toLocaleString("en")} tokens scored, ${tail === 0 ? "no tail: every token a query sees is compressed" : `tail ${tail}`}. ± is one standard error. ${machine}, ${date}.`;
  return `${drawn}\n\n${told}\n\n\`\`\`sh\n${command}\n\`\`\``;
}

/** @param {MeasuredRow} a @param {MeasuredRow} b */
function byBits(a, b) {
  return b.bitsPerValue - a.bitsPerValue || a.kldMean - b.kldMean;
}

/** @param {readonly MeasuredRow[]} rows @param {string} name @param {string} id */
function findRow(rows, name, id) {
  const row = rows.find(({ cache }) => cache === name);
  if (row === undefined) throw new Error(`table ${id} has no row "${name}"`);
  return row;
}

/** @param {number} value */
function bytes(value) {
  return Math.round(value).toLocaleString("en");
}

/** Four places, five for what is smaller. @param {number} value */
function error(value) {
  return value.toFixed(value < 0.00005 ? 5 : 4);
}
