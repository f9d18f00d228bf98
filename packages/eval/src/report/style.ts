/** The report's style sheet: light, and dark where the reader prefers it. */

/** Ink, ground and eight series of which neighbours differ in hue and lightness, for both schemes. */
export const STYLE = `
:root { color-scheme: light dark; --ground: #ffffff; --panel: #f6f7f9; --ink: #1b2027; --quiet: #5b6472; --rule: #dde1e7; --accent: #1c62b9; --on-accent: #ffffff;
  --s1: #1c62b9; --s2: #c8501a; --s3: #12805c; --s4: #8f6a00; --s5: #7a3fc4; --s6: #b8286c; --s7: #44730d; --s8: #4e6472; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --panel: #1c2128; --ink: #e6e9ee; --quiet: #9aa4b2; --rule: #333a45; --accent: #6aaaf5; --on-accent: #10151c;
  --s1: #6aaaf5; --s2: #f2915f; --s3: #46c79d; --s4: #dcb44a; --s5: #b993f5; --s6: #f07fb2; --s7: #9acb5b; --s8: #a9bac8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 24px 28px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 44px 0 6px; } h3 { font-size: 15px; margin: 22px 0 6px; }
p { margin: 4px 0 12px; max-width: 84ch; color: var(--quiet); } p b, li b { color: var(--ink); }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); gap: 18px; margin: 10px 0 18px; }
figure { margin: 0; padding: 12px 14px 8px; background: var(--panel); border-radius: 8px; min-width: 0; }
figcaption { font-size: 14px; margin-bottom: 4px; color: var(--quiet); } figcaption b { color: var(--ink); }
.plots svg { width: 100%; height: auto; display: block; }
.grids { display: flex; flex-wrap: wrap; gap: 14px; margin: 10px 0 18px; } .grid-figure { flex: none; max-width: 100%; } .grid-figure svg { display: block; max-width: 100%; height: auto; }
.table { overflow-x: auto; margin: 8px 0 18px; } table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--quiet); white-space: nowrap; vertical-align: bottom; } td { text-align: right; white-space: nowrap; }
th, td { padding: 4px 9px; border-bottom: 1px solid var(--rule); } th:first-child, td:first-child { text-align: left; padding-left: 2px; } tr.exact td { color: var(--quiet); } tr.best td:first-child { font-weight: 600; }
tr.group td { border-bottom-color: var(--quiet); } td .swatch { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 7px; background: currentColor; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--quiet); } svg text.title { font-size: 12.5px; } svg text.strong { fill: var(--ink); font-weight: 600; }
svg text.name { fill: currentColor; font-weight: 600; } svg text.in-cell { fill: var(--ink); } svg text.on-found { fill: var(--on-accent); font-weight: 600; }
.grid { stroke: var(--rule); stroke-width: 1; } .axis, .tick { stroke: var(--quiet); stroke-width: 1; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; } .lead { fill: none; stroke: currentColor; stroke-width: 1; opacity: 0.45; }
.dot { fill: currentColor; stroke: var(--panel); stroke-width: 1; } .error { stroke: currentColor; stroke-width: 1.4; opacity: 0.75; } .front { fill: none; stroke: var(--quiet); stroke-width: 1.5; stroke-dasharray: 5 4; }
.ground { fill: var(--ground); stroke: var(--rule); } .found { fill: var(--accent); } .inconclusive .found { opacity: 0.4; }
.s0 { color: var(--ink); } .s1 { color: var(--s1); } .s2 { color: var(--s2); } .s3 { color: var(--s3); } .s4 { color: var(--s4); } .s5 { color: var(--s5); } .s6 { color: var(--s6); } .s7 { color: var(--s7); } .s8 { color: var(--s8); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 12px 0; font-size: 14px; } dt { color: var(--quiet); } dd { margin: 0; min-width: 0; }
@media print { figure { break-inside: avoid; } }
`;
