// The API pages: typedoc reads every package's entry points and writes a page of Markdown for each.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Application, Comment } from "typedoc";
import { packageNames } from "./site-map.mjs";

/** @typedef {{ text: string, link: string }} MenuItem */

/**
 * @param {{ root: string, folder: string }} options `root` of the repository; `folder` of the site's Markdown
 * @returns {Promise<readonly MenuItem[]>} the pages, for the menu
 * @throws Error when a source does not parse or a link in a comment leads nowhere
 */
export async function makeApi({ root, folder }) {
  const entries = [...packageNames.map((name) => `packages/${name}`), "apps/server"].flatMap((place) => entryPoints(root, place));
  const application = await Application.bootstrapWithPlugins({
    entryPoints: entries.map(({ file }) => join(root, file)),
    // Entry points alone: tests and tools need not be read.
    tsconfig: join(root, "apps/docs/tsconfig.json"),
    plugin: ["typedoc-plugin-markdown"],
    name: "API",
    outputs: [{ name: "markdown", path: join(folder, "api") }],
    readme: "none",
    // `npm test` checks types before this; here they would be checked a second time.
    skipErrorChecking: true,
    disableSources: true,
    sortEntryPoints: false,
    groupOrder: ["Functions", "Variables", "Classes", "Interfaces", "Type Aliases"],
    excludeInternal: true,
    excludePrivate: true,
    excludeExternals: true,
    validation: { notExported: false, invalidLink: true, rewrittenLink: true, notDocumented: false, unusedMergeModuleWith: true },
    treatValidationWarningsAsErrors: true,
    logLevel: "Warn",
    ...markdownOptions,
  });
  const project = await application.convert();
  if (project === undefined) throw new Error("typedoc could not read the sources");
  for (const module of project.children ?? []) {
    const entry = entries.find(({ file }) => module.name === file.replace(/\/index\.ts$/, ""));
    if (entry === undefined) throw new Error(`typedoc gave a module "${module.name}" that is no entry point`);
    module.name = entry.name;
    module.comment = new Comment([{ kind: "text", text: purposeOf(readFileSync(join(root, entry.file), "utf8")) }]);
  }
  application.validate(project);
  if (application.logger.hasErrors() || application.logger.hasWarnings()) throw new Error("typedoc found what is told above");
  await application.generateOutputs(project);
  if (application.logger.hasErrors()) throw new Error("typedoc could not write the pages");
  for (const name of readdirSync(join(folder, "api"), { recursive: true, encoding: "utf8" }).filter((each) => each.endsWith(".md"))) {
    const file = join(folder, "api", name);
    writeFileSync(file, namePlaces(readFileSync(file, "utf8")));
  }
  return entries.map(({ name }) => ({ text: name, link: `/api/${name}` }));
}

/** Of typedoc-plugin-markdown. */
const markdownOptions = {
  outputFileStrategy: "modules",
  entryFileName: "index",
  hideBreadcrumbs: true,
  hidePageHeader: true,
  parametersFormat: "table",
  interfacePropertiesFormat: "table",
  typeAliasPropertiesFormat: "table",
  typeDeclarationFormat: "table",
  classPropertiesFormat: "table",
  enumMembersFormat: "table",
  useCodeBlocks: true,
  expandObjects: false,
  expandParameters: true,
  sanitizeComments: true,
  useHTMLEncodedBrackets: true,
  // Places have the names that typedoc links to, whatever VitePress would make of the headings.
  useCustomAnchors: true,
  customAnchorsFormat: "curlyBrace",
};

/**
 * Gives every heading within a member, such as its `Parameters`, a place of its own, named after the member: as VitePress would name it, it would take the place of a member called like it.
 * @param {string} markdown
 */
function namePlaces(markdown) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  let member = "";
  return markdown.replaceAll(/^(#{3,} )(.+?)(?: \{#([^}]+)\})?$/gm, (_, level, text, own) => {
    if (own !== undefined) member = own;
    const name = own ?? `${member}-${text.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`;
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    return `${level}${text} {#${name}${times === 1 ? "" : `-again-${times}`}}`;
  });
}

/** What a package exports, as source files. @param {string} root @param {string} place such as `packages/quant` @returns {readonly { name: string, file: string }[]} */
function entryPoints(root, place) {
  const { name, exports } = JSON.parse(readFileSync(join(root, place, "package.json"), "utf8"));
  return Object.keys(exports).map((path) => (path === "." ? { name, file: `${place}/src/index.ts` } : { name: `${name}${path.slice(1)}`, file: `${place}/src${path.slice(1)}/index.ts` }));
}

/** The comment that every file begins with. @param {string} source */
function purposeOf(source) {
  return /^\/\*\*(.*?)\*\//s.exec(source)?.[1]?.replaceAll(/\s*\n \* ?/g, " ").trim() ?? "";
}
