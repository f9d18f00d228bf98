// Writes the Markdown that VitePress builds: pages of this folder and of the rest of the repository, with links, tables and figures put in.
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join, posix } from "node:path";
import { inlineFigure } from "./inline-figure.mjs";
import { firstHeading, mapLines, takeSections } from "./markdown.mjs";
import { measuredTable } from "./measured-table.mjs";
import { readMeasurements } from "./measurements.mjs";
import { rewriteLinks } from "./rewrite-links.mjs";
import { folderRoutes, siteGroups } from "./site-map.mjs";

/** @typedef {import("./site-map.mjs").SitePage} SitePage */
/** @typedef {{ text: string, collapsed?: boolean, items: readonly { text: string, link: string }[] }} MenuGroup */

/** A line that stands for a measured table, such as `<!-- table: wikitext-2-no-tail caches=fp16,kvq4 -->`. */
const TABLE = /^<!-- table: (\S+?)(?: caches=(\S+))?( bare)? -->$/;
/** A line that stands for sections of another file, such as `<!-- include: README.md#Speed -->`. */
const INCLUDE = /^<!-- include: (\S+)#(.+) -->$/;
/** A line that stands for a file of the repository as code, such as `<!-- code: apps/examples/src/calibrate.mjs -->`. */
const CODE = /^<!-- code: (\S+) -->$/;
/** A picture of this folder on a line of its own. */
const FIGURE = /^!\[([^\]]+)\]\((\S+\.svg)\)$/;

/**
 * Writes every page into a folder and returns the menu.
 * @param {{ root: string, folder: string }} options `root` of the repository; `folder` to write into
 * @returns {readonly MenuGroup[]}
 */
export function collectPages({ root, folder }) {
  const groups = siteGroups(root);
  /** @type {SitePage} */
  const home = { source: "apps/docs/pages/index.md", route: "index" };
  const pages = [home, ...groups.flatMap((group) => group.pages), ...exampleSources(root)];
  const routes = new Map([...folderRoutes, ...pages.filter(({ sections }) => sections === undefined).map(({ source, route }) => /** @type {const} */ ([source, route]))]);
  mkdirSync(join(folder, "public"), { recursive: true });
  copyFileSync(join(root, "apps/server/public/mark.svg"), join(folder, "public", "mark.svg"));
  for (const page of pages) write(folder, page.route, pageText(page, { root, routes }));
  return groups.map(({ text, collapsed, pages: own }) => ({
    text,
    ...(collapsed === undefined ? {} : { collapsed }),
    items: own.map((page) => ({ text: menuText(root, page), link: `/${page.route}` })),
  }));
}

/** Source files of the examples, each a page. @param {string} root @returns {readonly SitePage[]} */
function exampleSources(root) {
  const sources = readdirSync(join(root, "apps/examples/src")).filter((name) => name.endsWith(".mjs")).map((name) => `apps/examples/src/${name}`);
  return [...sources, "apps/examples/custom-quantizer/quantizer.mjs"].filter((source) => existsSync(join(root, source))).map((source) => ({ source, route: `examples/${basename(source, ".mjs")}` }));
}

/** @param {SitePage} page @param {{ root: string, routes: ReadonlyMap<string, string> }} context @returns {string} */
function pageText(page, { root, routes }) {
  if (page.source.endsWith(".mjs")) return `# ${basename(page.source)}\n\n\`${page.source}\`\n\n${codeBlock(root, page.source)}\n`;
  const whole = readFileSync(join(root, page.source), "utf8");
  const chosen = page.sections === undefined ? whole : `# ${page.title}\n\n${takeSections(whole, page.sections)}\n`;
  const context = { root, routes, route: page.route };
  // Pages written for the site link to its routes, which VitePress checks.
  const linked = page.source.startsWith("apps/docs/pages/") ? chosen : rewriteLinks(chosen, { ...context, source: page.source });
  const filled = mapLines(linked, (line) => fillLine(line, { ...context, source: page.source }));
  return page.route.startsWith("packages/") ? `${filled.trimEnd()}\n\nAll exports: [API](../api/@kvquant/${posix.basename(page.route)}.md).\n` : filled;
}

/** @param {string} root @param {string} source */
function codeBlock(root, source) {
  return `\`\`\`js\n${readFileSync(join(root, source), "utf8").trimEnd()}\n\`\`\``;
}

/** What a line stands for, or the line. @param {string} line @param {import("./rewrite-links.mjs").LinkContext} context @returns {string} */
function fillLine(line, context) {
  const { root } = context;
  const table = TABLE.exec(line);
  if (table !== null) return measuredTable(readMeasurements(root), { id: table[1] ?? "", caches: table[2]?.split(","), note: table[3] === undefined });
  const include = INCLUDE.exec(line);
  if (include !== null) {
    const [, source = "", heading = ""] = include;
    // Below the heading of the page that includes it, without its own.
    const text = takeSections(readFileSync(join(root, source), "utf8"), [heading]).replace(/^## .*\n+/, "");
    return rewriteLinks(text, { ...context, source });
  }
  const code = CODE.exec(line)?.[1];
  if (code !== undefined) return codeBlock(root, code);
  const figure = FIGURE.exec(line);
  if (figure !== null) return inlineFigure(readFileSync(join(root, posix.dirname(context.source), figure[2] ?? ""), "utf8"), figure[1] ?? "");
  return line;
}

/** @param {string} root @param {SitePage} page */
function menuText(root, { source, text, title }) {
  const name = text ?? title ?? firstHeading(readFileSync(join(root, source), "utf8"));
  if (name === undefined) throw new Error(`${source}: expected a first heading`);
  return name;
}

/** @param {string} folder @param {string} route @param {string} text */
function write(folder, route, text) {
  const path = join(folder, `${route}.md`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
