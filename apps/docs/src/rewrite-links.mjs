// Links between files of the repository become links between pages of the site.
import { existsSync } from "node:fs";
import { join, posix } from "node:path";
import { mapLines } from "./markdown.mjs";

/**
 * @typedef {object} LinkContext
 * @property {string} root of the repository
 * @property {string} source the file that is rewritten, in the repository
 * @property {string} route its page
 * @property {ReadonlyMap<string, string>} routes page of each file or folder of the repository that has one
 */

/** Inline code, which is left alone, or a link; its text may hold inline code. */
const CODE_OR_LINK = /(`+)[^`]+\1|(?<!!)\[((?:`[^`]+`|[^\]`])+)\]\(([^)\s]+)\)/g;

/**
 * Rewrites relative links. A file without a page keeps its text and loses its link.
 * @param {string} markdown @param {LinkContext} context @returns {string}
 * @throws Error for a link to what is not in the repository
 */
export function rewriteLinks(markdown, { root, source, route, routes }) {
  const rewrite = (/** @type {string} */ text, /** @type {string} */ target) => {
    if (/^[a-z]+:/.test(target) || target.startsWith("#")) return `[${text}](${target})`;
    const [path = "", hash] = target.split("#");
    const file = posix.join(posix.dirname(source), path).replace(/\/$/, "");
    if (!existsSync(join(root, file))) throw new Error(`${source}: links to ${target}, and there is no ${file}`);
    const page = routes.get(file);
    if (page === undefined) return text;
    return `[${text}](${posix.relative(posix.dirname(route), page)}.md${hash === undefined ? "" : `#${hash}`})`;
  };
  return mapLines(markdown, (line) => line.replaceAll(CODE_OR_LINK, (whole, _ticks, text, target) => (target === undefined ? whole : rewrite(text, target))));
}
