// The measured figures of the site: one data file, drawn as tables and in one figure.
import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @typedef {object} MeasuredRow
 * @property {string} cache its name for `kvquant eval --caches`
 * @property {number} bitsPerValue true bits
 * @property {number} cacheBytesPerToken all memory the cache takes, over the tokens of the window
 * @property {number} perplexity
 * @property {number} deltaPerplexity
 * @property {number} deltaPerplexityError one standard error
 * @property {number} kldMean nats
 * @property {number} kldError one standard error
 * @property {number} kldMedian
 * @property {number} kld999
 * @property {number} top1 share, 0 to 1
 */

/**
 * @typedef {object} MeasuredTable
 * @property {string} id such as `wikitext-2-no-tail`
 * @property {string} title
 * @property {string} model
 * @property {string} text what was read, and how much of it
 * @property {number} tokensScored
 * @property {number} tail newest tokens kept exact; 0 is the protocol in which every token is seen compressed
 * @property {string} machine
 * @property {string} date year-month-day
 * @property {string} command
 * @property {readonly MeasuredRow[]} rows
 */

/** @typedef {{ readonly origins: Readonly<Record<string, string>>, readonly tables: readonly MeasuredTable[], readonly ladder: Ladder }} Measurements */
/** @typedef {{ readonly text: string, readonly steps: readonly { readonly label: string, readonly kldMean: number }[] }} Ladder */

/** Place of the data file below the repository's root. */
export const measurementsFile = "apps/docs/data/measurements.json";

/** @param {string} root of the repository @returns {Measurements} */
export function readMeasurements(root) {
  return JSON.parse(readFileSync(join(root, measurementsFile), "utf8"));
}

/**
 * @param {Measurements} measurements @param {string} id @returns {MeasuredTable}
 * @throws Error for an id that is not there
 */
export function findTable({ tables }, id) {
  const table = tables.find((candidate) => candidate.id === id);
  if (table === undefined) throw new Error(`${measurementsFile}: no table "${id}"; there are ${tables.map((each) => each.id).join(", ")}`);
  return table;
}

/** Who a cache is from: the longest beginning of its name in `origins`. @param {Measurements} measurements @param {string} cache @returns {string} */
export function originOf({ origins }, cache) {
  const found = Object.keys(origins).filter((start) => cache.startsWith(start)).sort((a, b) => b.length - a.length)[0];
  if (found === undefined) throw new Error(`${measurementsFile}: origins has no beginning of "${cache}"`);
  return origins[found] ?? "";
}
