// Rows of an evaluation's report become rows of the site's data file.

/** @typedef {import("./measurements.mjs").Measurements} Measurements */
/** @typedef {import("./measurements.mjs").MeasuredTable} MeasuredTable */
/** @typedef {import("./measurements.mjs").MeasuredRow} MeasuredRow */
/** @typedef {import("@kvquant/eval").FidelityReport} FidelityReport */

/**
 * The measurements with the rows of a report's shortest windows. fp16, which has no tail, goes into every table.
 * @param {Measurements} measurements @param {FidelityReport} report
 * @param {{ id: string, tail: number, told: Readonly<Partial<MeasuredTable>> }} options `told`: the table's other fields, needed where it is new
 * @returns {Measurements}
 * @throws Error for a report without such rows, or a new table of which something is not told
 */
export function addRows(measurements, report, { id, tail, told }) {
  const rows = (report.windows[0]?.rows ?? []).filter((row) => row.tail === null || row.tail === tail);
  if (!rows.some((row) => row.tail === tail)) throw new Error(`the report has no rows with tail ${tail}`);
  const before = measurements.tables.find((table) => table.id === id);
  const table = { ...before, ...told, id, tail, tokensScored: rows[0]?.tokensScored, rows: merge(before?.rows ?? [], rows.map(pick)) };
  for (const field of ["title", "model", "text", "machine", "date", "command"]) {
    if (!(field in table)) throw new Error(`${id} is a new table: say its --${field}`);
  }
  const whole = /** @type {MeasuredTable} */ (table);
  const tables = before === undefined ? [...measurements.tables, whole] : measurements.tables.map((each) => (each.id === id ? whole : each));
  return { ...measurements, tables };
}

/** @param {readonly MeasuredRow[]} before @param {readonly MeasuredRow[]} rows @returns {readonly MeasuredRow[]} */
function merge(before, rows) {
  const names = new Set(rows.map(({ cache }) => cache));
  return [...before.filter(({ cache }) => !names.has(cache)), ...rows];
}

/** Six digits are more than the errors leave. @param {FidelityReport["windows"][number]["rows"][number]} row @returns {MeasuredRow} */
function pick(row) {
  const fields = /** @type {const} */ (["bitsPerValue", "cacheBytesPerToken", "perplexity", "deltaPerplexity", "deltaPerplexityError", "kldMean", "kldError", "kldMedian", "kld999", "top1"]);
  return /** @type {MeasuredRow} */ ({ cache: row.cache, ...Object.fromEntries(fields.map((field) => [field, Number((row[field] ?? 0).toPrecision(6))])) });
}
