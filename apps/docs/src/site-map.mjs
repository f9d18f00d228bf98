// Which page of the site comes from which file of the repository: every text has one source, and the site takes it from there.
import { readdirSync } from "node:fs";
import { join, posix } from "node:path";

/**
 * @typedef {object} SitePage
 * @property {string} source path in the repository
 * @property {string} route path on the site without extension, such as `reference/format`
 * @property {string} [text] its name in the menu; default: its first heading
 * @property {readonly string[]} [sections] the only headings taken, with what is below them; default: the whole file
 * @property {string} [title] its first heading where only sections are taken
 */

/**
 * @typedef {object} SiteGroup
 * @property {string} text
 * @property {boolean} [collapsed]
 * @property {readonly SitePage[]} pages
 */

/** Packages in the order of their layers. */
export const packageNames = ["spec", "packing", "codebook", "sparse", "rope", "quant", "cache", "cpu", "cuda", "model", "eval", "artifacts", "engine"];

/** Every page but the home page and those of the API. @param {string} root of the repository @returns {readonly SiteGroup[]} */
export function siteGroups(root) {
  const groups = listedGroups(root);
  const listed = new Set(groups.flatMap(({ pages }) => pages.map(({ source }) => source)));
  const others = markdownIn(root, "docs").filter((source) => !listed.has(source));
  // A page that nobody placed is a reference.
  return groups.map((group) => (group.text === "Reference" ? { ...group, pages: [...group.pages, ...others.map((source) => ({ source, route: `reference/${nameOf(source)}` }))] } : group));
}

/** The menu as it is laid out by hand. @param {string} root @returns {readonly SiteGroup[]} */
function listedGroups(root) {
  return [
    { text: "Start", pages: [own("guide/getting-started"), own("guide/when-to-use"), own("comparison")] },
    {
      text: "Concepts",
      pages: ["keys-per-channel", "keys-before-rope", "outliers", "pages-sinks-tail", "bits-and-divergence"].map((name) => own(`concepts/${name}`)),
    },
    {
      text: "How to",
      pages: [
        own("how-to/use-one-package"),
        { source: "apps/cli/README.md", route: "how-to/command-line", text: "Use the command line" },
        { source: "apps/server/README.md", route: "how-to/server", text: "Run the server" },
        { source: "docs/custom-quantizers.md", route: "how-to/custom-quantizers", text: "Write a quantizer" },
        { source: "docs/planner.md", route: "how-to/planner", text: "Plan bits by layer" },
        { source: "docs/fidelity-suite.md", route: "how-to/fidelity-suite", text: "Measure a cache" },
        { source: "apps/examples/README.md", route: "how-to/examples", text: "Examples" },
        { source: "apps/examples/custom-quantizer/README.md", route: "how-to/custom-quantizer-example", text: "Example: a quantizer" },
      ],
    },
    {
      text: "Reference",
      pages: [
        { source: "README.md", route: "reference/models-and-caches", title: "Models and caches", sections: ["Models", "Caches", "Limits"] },
        { source: "docs/format.md", route: "reference/format" },
        { source: "docs/evaluation.md", route: "reference/evaluation" },
        { source: "docs/cuda.md", route: "reference/cuda" },
        { source: "SECURITY.md", route: "reference/security" },
        { source: "CONTRIBUTING.md", route: "reference/contributing" },
      ],
    },
    {
      text: "Packages",
      collapsed: true,
      pages: packageNames.map((name) => ({ source: `packages/${name}/README.md`, route: `packages/${name}`, text: `@kvquant/${name}` })),
    },
    {
      text: "Decisions",
      collapsed: true,
      pages: markdownIn(root, "docs/decisions").map((source) => ({ source, route: `decisions/${nameOf(source)}` })),
    },
  ];
}

/** Folders of the repository that links name, and the pages that tell of them. @type {ReadonlyMap<string, string>} */
export const folderRoutes = new Map([
  ...packageNames.map((name) => /** @type {const} */ ([`packages/${name}`, `packages/${name}`])),
  ["apps/server", "how-to/server"],
  ["apps/cli", "how-to/command-line"],
  ["apps/examples", "how-to/examples"],
  ["apps/examples/custom-quantizer", "how-to/custom-quantizer-example"],
  ["docs/decisions", "decisions/0001-reference-engine"],
]);

/** @param {string} root @param {string} folder @returns {readonly string[]} */
function markdownIn(root, folder) {
  return readdirSync(join(root, folder)).filter((name) => name.endsWith(".md")).sort().map((name) => `${folder}/${name}`);
}

/** @param {string} source */
function nameOf(source) {
  return posix.basename(source, ".md");
}

/** A page written for the site. @param {string} route @returns {SitePage} */
function own(route) {
  return { source: `apps/docs/pages/${route}.md`, route };
}
