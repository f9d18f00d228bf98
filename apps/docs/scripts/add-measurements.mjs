// Puts rows of a report of `kvquant eval --suite kld --report <folder>` into the data file of the site's tables: rows of the same cache are replaced, a table that is not there yet is made.
//
//   node apps/docs/scripts/add-measurements.mjs out/report.json --table c4-tail-64 --title "C4, tail 64" --text "C4, 8 windows of 2,048" --command "kvquant eval ..."
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { addRows } from "../src/add-rows.mjs";
import { measurementsFile, readMeasurements } from "../src/measurements.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { table: { type: "string" }, title: { type: "string" }, model: { type: "string" }, text: { type: "string" }, machine: { type: "string" }, date: { type: "string" }, command: { type: "string" }, tail: { type: "string" } },
});
const { table: id, tail = "0", ...told } = values;
const [path] = positionals;
if (path === undefined || id === undefined) throw new Error("expected a report.json and --table <id>; see the first lines of this file");
const root = join(import.meta.dirname, "..", "..", "..");
const measurements = addRows(readMeasurements(root), JSON.parse(readFileSync(path, "utf8")), { id, tail: Number(tail), told });
writeFileSync(join(root, measurementsFile), `${JSON.stringify(measurements, null, 2).replaceAll(/\{\n\s+("cache"[^}]*)\n\s+\}/g, (_, row) => `{ ${row.replaceAll(/\n\s+/g, " ")} }`)}\n`);
process.stdout.write(`${measurementsFile}: ${measurements.tables.find((table) => table.id === id)?.rows.length} rows in ${id}\n`);
