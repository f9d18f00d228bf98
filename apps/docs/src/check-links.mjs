// Follows every link of the built site: pages, places in pages, pictures, scripts and styles.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, posix } from "node:path";

/** What a built site refers to. */
const REFERENCE = /<(a|img|link|script)\s[^>]*?(?:href|src)="([^"]*)"/g;

/**
 * @param {string} folder of the built site
 * @param {string} base path that the site is built for, such as `/`
 * @returns {{ pages: number, links: number, problems: readonly string[] }} links within the site, and what is wrong with them
 */
export function checkLinks(folder, base = "/") {
  const pages = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".html")).sort();
  const texts = new Map(pages.map((page) => [page, readFileSync(join(folder, page), "utf8")]));
  const places = new Map([...texts].map(([page, text]) => [page, new Set([...text.matchAll(/\sid="([^"]+)"/g)].map((match) => decode(match[1] ?? "")))]));
  /** @type {string[]} */
  const problems = [];
  let links = 0;
  for (const [page, text] of texts) {
    for (const [, element = "", raw = ""] of text.matchAll(REFERENCE)) {
      const address = decode(raw);
      if (address.startsWith("data:")) continue;
      if (/^(https?|mailto):/.test(address)) {
        // The site works without a network: it may point outside, and must not load from there.
        if (element !== "a") problems.push(`${page}: loads ${address}`);
        continue;
      }
      links++;
      const [path = "", hash] = address.split("#");
      const file = path === "" ? page : fileOf(page, path, base);
      if (file === undefined || !existsSync(join(folder, file))) problems.push(`${page}: ${address} leads nowhere`);
      else if (hash !== undefined && hash !== "" && places.has(file) && !places.get(file)?.has(decodeURIComponent(hash))) problems.push(`${page}: ${address} names no place of ${file}`);
    }
  }
  return { pages: pages.length, links, problems: [...new Set(problems)] };
}

/** The file of a path, or undefined for one outside the base. @param {string} page @param {string} path @param {string} base @returns {string | undefined} */
function fileOf(page, path, base) {
  if (path.startsWith("/") && !path.startsWith(base)) return undefined;
  const file = path.startsWith("/") ? path.slice(base.length) : posix.join(posix.dirname(page), path);
  if (file === "" || file.endsWith("/")) return `${file}index.html`;
  return posix.extname(file) === "" ? `${file}.html` : decodeURIComponent(file);
}

/** @param {string} text */
function decode(text) {
  return text.replaceAll("&amp;", "&").replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&#39;", "'");
}
