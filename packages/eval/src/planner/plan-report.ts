/** A plan as a page to look at: its figures, its Pareto front, and the bits of each layer. Self-contained, light and dark. */

import { escapeText } from "../report/markup.js";
import type { Plan, PlanFigures } from "./plan.js";
import { drawFront, drawLayers } from "./plan-charts.js";

/** What the page shows. */
export interface PlanReportContent {
  readonly model: string;
  /** Name of the cache, such as `kvq:3.00`. */
  readonly cache: string;
  readonly plan: Plan;
  readonly front: readonly PlanFigures[];
  /** Length that bytes are stated for. */
  readonly tokens: number;
  /** Plans that were run, the one shown last; may be empty. */
  readonly measured: readonly { readonly bitsPerValue: number; readonly kld: number }[];
}

/** The page, one HTML document without references to others. */
export function renderPlanReport({ model, cache, plan, front, tokens, measured }: PlanReportContent): string {
  const title = `${escapeText(cache)} for ${escapeText(model)}`;
  const last = measured.at(-1);
  const facts: [string, string][] = [
    ["Bits a value", plan.bitsPerValue.toFixed(3)],
    ["KL divergence predicted, nats a token, no tail", plan.predictedKld.toPrecision(3)],
    ["measured", last === undefined ? "not run" : last.kld.toPrecision(3)],
    [`Cache at ${tokens.toLocaleString("en")} tokens`, `${(plan.cacheBytes / 2 ** 20).toFixed(1)} MiB`],
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${title}</h1>
<dl>${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`).join("")}</dl>
<h2>Divergence against bits</h2>
<p>The line joins the plans that no other one beats, as predicted. The ring is this plan as predicted, dots are plans as measured.</p>
${drawFront({ front, chosen: plan, measured })}
<h2>Bits of each layer</h2>
${drawLayers(plan)}
<details><summary>Every tensor</summary>
<table><thead><tr><th>Layer</th><th>Side</th><th>Option</th><th>Bits a value</th><th>Predicted KL divergence</th></tr></thead><tbody>
${plan.tensors.map(({ layer, side, option, bits, damage }) => `<tr><td>${layer}</td><td>${side}</td><td>${escapeText(option)}</td><td>${bits.toFixed(3)}</td><td>${damage.toPrecision(3)}</td></tr>`).join("\n")}
</tbody></table></details>
</body>
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; --ground: #fff; --text: #1c2126; --quiet: #5d6872; --rule: #dfe4e8; --first: #1a62b8; --second: #b4540a; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181c; --text: #e6eaee; --quiet: #9aa6b1; --rule: #2c343b; --first: #6fb0ff; --second: #ffa45c; } }
body { font: 15px/1.5 system-ui, sans-serif; background: var(--ground); color: var(--text); max-width: 860px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } p { color: var(--quiet); }
dl { display: flex; flex-wrap: wrap; gap: 1rem 2rem; } dt { color: var(--quiet); font-size: .85rem; } dd { margin: 0; font-size: 1.2rem; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; } svg text { fill: var(--quiet); font-size: 12px; } .rule { stroke: var(--rule); } .front { fill: none; stroke: var(--first); stroke-width: 2; }
.chosen { fill: none; stroke: var(--second); stroke-width: 2; } .measured { fill: var(--second); } .key { fill: var(--first); } .value { fill: var(--second); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { padding: .2rem .8rem; border-bottom: 1px solid var(--rule); text-align: right; } th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
summary { cursor: pointer; }`;
