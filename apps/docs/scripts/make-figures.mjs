// Draws the figures of the concept pages into apps/docs/figures. Needs a model, and a text that it was not calibrated on:
//
//   node apps/docs/scripts/make-figures.mjs --data wiki.valid.raw     all of them; SmolLM2-135M, about two minutes
//   node apps/docs/scripts/make-figures.mjs --measured                those that follow from data/measurements.json, without a model
//   node apps/docs/scripts/make-figures.mjs --again                   all of them from what the last run with --data measured
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setUp } from "../../../tools/setup.mjs";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    measured: { type: "boolean", default: false },
    again: { type: "boolean", default: false },
    model: { type: "string", default: "smollm2" },
    layer: { type: "string", default: "13" },
    head: { type: "string", default: "0" },
    channel: { type: "string", default: "9" },
    length: { type: "string", default: "2048" },
  },
});
if (values.data === undefined && !values.measured && !values.again) throw new Error("expected --data <text file>, --measured or --again");

await setUp();
const { drawMeasured, drawModel } = await import("../src/figures/draw-all.mjs");
const { readMeasurements } = await import("../src/measurements.mjs");
const docs = join(import.meta.dirname, "..");
const kept = join(docs, "dist", "figure-data.json");

/** @type {Readonly<Record<string, string>>} */
let figures = drawMeasured(readMeasurements(join(docs, "..", "..")));
if (values.data !== undefined) {
  const { measureFigures } = await import("../src/figures/measure.mjs");
  const [layer, head, channel, length] = [values.layer, values.head, values.channel, values.length].map(Number);
  const onProgress = (/** @type {string} */ text) => void process.stderr.write(`${text}\n`);
  const options = /** @type {Parameters<typeof measureFigures>[0]} */ ({ model: values.model, data: values.data, layer, head, channel, length, onProgress });
  mkdirSync(join(docs, "dist"), { recursive: true });
  writeFileSync(kept, JSON.stringify(await measureFigures(options)));
}
if (!values.measured) figures = { ...figures, ...drawModel(JSON.parse(readFileSync(kept, "utf8"))) };
for (const [name, svg] of Object.entries(figures)) {
  writeFileSync(join(docs, "figures", `${name}.svg`), svg);
  process.stdout.write(`${name}.svg ${(svg.length / 1000).toFixed(0)} kB\n`);
}
