/** The report as one HTML page: no scripts, no network, plots as inline SVG. */

import { RETRIEVAL_PARTS } from "../suite/suite-options.js";
import type { FidelityReport } from "../suite/suite-report.js";
import { count, tailName } from "./figures.js";
import { element, render } from "./markup.js";
import type { Content } from "./markup.js";
import { drawDrift, drawLayers, drawRetrieval } from "./other-sections.js";
import { createLooks } from "./series.js";
import { STYLE } from "./style.js";
import { drawFronts, drawWindows } from "./windows-section.js";

/** The page as text. Names and figures of the report are escaped. */
export function renderReport(report: FidelityReport): string {
  const lookOf = createLooks(report);
  const { model, protocol } = report;
  const title = `KV cache fidelity of ${model.name}`;
  const page = element(
    "html",
    { lang: "en" },
    element("head", {}, element("meta", { charset: "utf-8" }), element("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }), element("title", {}, title), { markup: `<style>${STYLE}</style>` }),
    element(
      "body",
      {},
      element(
        "main",
        {},
        element("h1", {}, title),
        element("p", {}, "Every row is read against the same engine with an fp16 cache on the same tokens, so that differences are the cache's alone."),
        drawOrigin(report),
        drawFronts(report, lookOf),
        report.windows.map((section) => drawWindows(section, report, lookOf)),
        drawLayers(report.layers, lookOf),
        report.drift === undefined ? undefined : drawDrift(report.drift, protocol.tails, lookOf),
        RETRIEVAL_PARTS.map((part) => drawRetrieval(report.retrieval.filter((section) => section.part === part), lookOf)),
      ),
    ),
  );
  return `<!doctype html>\n${render(page)}\n`;
}

function drawOrigin({ model, protocol, caches, schema, version, windows }: FidelityReport): Content {
  const entries: [string, Content][] = [
    ["Model", [model.name, ", ", `${model.layers} layers, context ${count(model.contextLength)}`]],
    ["Fingerprint", element("code", {}, model.fingerprint)],
    ["Engine", element("code", {}, model.engine)],
    ["Attention", [...new Set(caches.map(({ backends }) => backends.join(", ")))].map((backend, index) => [index === 0 ? "" : "; ", element("code", {}, backend)])],
    ["Parts", protocol.parts.join(", ")],
    ["Tails", protocol.tails.map(tailName).join(", ")],
    ...(windows[0] === undefined ? [] : [["Text", element("code", {}, windows[0].textFingerprint)] as [string, Content]]),
    ["Seed", protocol.seed],
    ["Data", element("code", {}, `report.json (${schema}, version ${version})`)],
  ];
  return element("dl", {}, entries.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}
