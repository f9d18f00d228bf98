// Builds the site: Markdown from the repository, API pages from the sources, HTML from both, and a walk along every link.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "vitepress";
import { checkLinks } from "./check-links.mjs";
import { collectPages } from "./collect-pages.mjs";
import { makeApi } from "./make-api.mjs";

/** This package. */
export const docsFolder = join(import.meta.dirname, "..");
/** The repository. */
const repository = join(docsFolder, "..", "..");
/** Where the site is built to. */
const siteFolder = join(docsFolder, "dist", "site");

/** Writes all Markdown and the menu that VitePress builds from. */
export async function prepareSite() {
  const folder = join(docsFolder, "dist", "source");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const groups = collectPages({ root: repository, folder });
  const api = await makeApi({ root: repository, folder });
  writeFileSync(join(docsFolder, "dist", "menu.json"), JSON.stringify([...groups, { text: "API", collapsed: true, items: [{ text: "All packages", link: "/api/" }, ...api] }]));
}

/**
 * @param {{ base?: string, write?: (text: string) => void }} [options] `base`: the path that the site is served under, `/` by default
 * @returns {Promise<{ pages: number, links: number, seconds: number }>}
 * @throws Error for links that lead nowhere
 */
export async function buildSite({ base = "/", write = () => {} } = {}) {
  const started = Date.now();
  await prepareSite();
  write(`API and pages collected, ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
  await build(docsFolder, { base, outDir: siteFolder });
  const { pages, links, problems } = checkLinks(siteFolder, base);
  if (problems.length > 0) throw new Error(`links of the site:\n${problems.join("\n")}`);
  return { pages, links, seconds: (Date.now() - started) / 1000 };
}
