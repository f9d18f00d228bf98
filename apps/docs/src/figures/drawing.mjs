// What all figures share: colours that follow the page, and one SVG of one or several plots.
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

/** Colours by name; `.vitepress/theme/style.css` gives the same ones to figures inside a page. */
export const colour = {
  ink: "var(--figure-ink)",
  quiet: "var(--figure-quiet)",
  rule: "var(--figure-rule)",
  ground: "var(--figure-ground)",
  series: /** @type {readonly [string, string, string, string]} */ (["var(--figure-1)", "var(--figure-2)", "var(--figure-3)", "var(--figure-4)"]),
};

/** For the file opened by itself. */
const STYLE = `<style>
svg { color: var(--figure-quiet); --figure-ink: #1b2027; --figure-quiet: #5b6472; --figure-rule: #dde1e7; --figure-ground: #ffffff; --figure-1: #1c62b9; --figure-2: #c8501a; --figure-3: #12805c; --figure-4: #8f6a00; }
@media (prefers-color-scheme: dark) { svg { background: #1b1b1f; --figure-ink: #e6e9ee; --figure-quiet: #9aa4b2; --figure-rule: #333a45; --figure-ground: #1b1b1f; --figure-1: #6aaaf5; --figure-2: #f2915f; --figure-3: #46c79d; --figure-4: #dcb44a; } }
</style>`;

/**
 * An Observable plot as SVG text.
 * @param {Plot.PlotOptions} options @returns {string}
 */
export function plot(options) {
  const { document } = parseHTML("<!doctype html><body></body>");
  const x = options.x === undefined ? undefined : { tickSize: 3, labelOffset: 38, ...options.x };
  const element = Plot.plot({ document: /** @type {any} */ (document), style: { fontSize: "12px" }, marginBottom: 44, ...options, ...(x && { x }) });
  for (const style of element.querySelectorAll("style")) style.remove();
  // Plot's classes are styled by the sheet just removed.
  element.removeAttribute("class");
  return element.outerHTML;
}

/** Text of a figure. @param {number} x @param {number} y @param {string} text @param {{ anchor?: string, fill?: string, bold?: boolean, size?: number, turned?: boolean }} [options] */
export function label(x, y, text, { anchor = "start", fill = colour.quiet, bold = false, size = 12, turned = false } = {}) {
  const turn = turned ? ` transform="rotate(-90 ${x} ${y})"` : "";
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${fill}" font-size="${size}"${bold ? ' font-weight="600"' : ""}${turn}>${escape(text)}</text>`;
}

/** Places a part of a figure. @param {number} x @param {number} y @param {string} content */
export function at(x, y, content) {
  return content.startsWith("<svg") ? content.replace("<svg", `<svg x="${x}" y="${y}"`) : `<g transform="translate(${x} ${y})">${content}</g>`;
}

/** A whole figure. @param {number} width @param {number} height @param {readonly string[]} parts @returns {string} */
export function figure(width, height, parts) {
  const font = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif" font-size="12"';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ${font}>\n${STYLE}\n${parts.join("\n")}\n</svg>\n`;
}

/** @param {string} text */
function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
