// Packs every published package and looks at it as a stranger would: publint --strict, attw --profile node16, sizes, and the README's example, type-checked and run in an empty project
// where npm installed the packed files; those that promise it also in chromium, and the program `kvquant` as a program. `node tools/check-packages.mjs [name ...]`: names such as codebook or kvquant; default all. The last line is `N passed, N failed, N skipped`.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { browserPackages, checkInBrowser, openBrowser } from "./browser-check.mjs";
import { checkProgram } from "./check-program.mjs";
import { runCommand } from "./run-command.mjs";
import { childEnvironment, pnpmCommand, root, setUp } from "./setup.mjs";
import { publishedFolders } from "./workspace-folders.mjs";

/** @typedef {{ name: string, folder: string, dependencies: string[], tarball: string }} Packed */
/** @typedef {{ check: string, problem: string | undefined, fact?: string }} Result */

/** Most bytes of all scripts of a package, compressed: growth beyond it is a decision, not an accident. */
const limits = JSON.parse(readFileSync(join(root, "tools", "package-limits.json"), "utf8"));
const bin = (/** @type {string} */ name) => join(root, "node_modules", name);

/**
 * @param {{ names?: string[], write?: (text: string) => void }} [options]
 * @returns {Promise<{ passed: number, failed: number, skipped: number }>} of packages; skipped are checks in a browser where there is none
 */
export async function checkPackages({ names = [], write = (text) => void process.stdout.write(text) } = {}) {
  const work = mkdtempSync(join(tmpdir(), "kvquant-packages-"));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const browser = await openBrowser();
  try {
    const packed = await packAll(work);
    /** @type {string | undefined} */
    let addon;
    const isWanted = (/** @type {Packed} */ entry) => names.length === 0 || names.includes(shortName(entry));
    const needed = new Set(packed.filter(isWanted).flatMap((entry) => closure(entry, packed)));
    for (const entry of packed) {
      const wanted = isWanted(entry);
      if (!wanted && !(shortName(entry) === "cpu" && needed.has(entry))) continue;
      const since = Date.now();
      /** @type {Result[]} */
      const results = wanted ? await Promise.all([publint(entry), areTheTypesWrong(entry), size(entry)]) : [];
      const installed = await install(entry, packed, { work, addon });
      if (shortName(entry) === "cpu" && installed.problem === undefined) addon = join(installed.folder, "node_modules/@kvquant/cpu/build/Release/kvquant_cpu.node");
      if (!wanted) continue;
      results.push({ check: "install", problem: installed.problem });
      if (installed.problem === undefined) results.push(await runExample(entry, installed.folder, addon));
      const works = results.every(({ problem }) => problem === undefined);
      if (works && entry.name === "kvquant") results.push(...(await checkProgram(installed.folder, addonEnvironment(addon))));
      if (works && browserPackages.includes(shortName(entry))) {
        if (browser === undefined) counts.skipped++;
        else results.push({ check: "in a browser", ...(await checkInBrowser(browser, { name: shortName(entry), folder: installed.folder })) });
      }
      const problems = results.filter(({ problem }) => problem !== undefined);
      counts[problems.length === 0 ? "passed" : "failed"]++;
      const facts = results.flatMap(({ fact }) => (fact === undefined ? [] : [fact])).join(", ");
      write(`${problems.length === 0 ? "passed" : "FAILED"}: ${entry.name}, ${facts}, ${((Date.now() - since) / 1000).toFixed(0)} s\n`);
      for (const { check, problem } of problems) write(`  ${check}: ${problem?.trimEnd().replaceAll("\n", "\n    ")}\n`);
    }
  } finally {
    await browser?.close();
    rmSync(work, { recursive: true, force: true });
  }
  return counts;
}

/** Packs all public packages, a package after those it needs. @param {string} work @returns {Promise<Packed[]>} */
async function packAll(work) {
  /** @type {Packed[]} */
  const packed = [];
  for (const published of publishedFolders(root)) {
    const folder = join(root, published);
    const manifest = readManifest(folder);
    const target = join(work, "tarballs", basename(folder));
    mkdirSync(target, { recursive: true });
    const [command, ...args] = pnpmCommand();
    const { code, output } = await run(/** @type {string} */ (command), [...args, "pack", "--pack-destination", target], { cwd: folder });
    if (code !== 0) throw new Error(`pnpm pack of ${manifest.name} failed:\n${output}`);
    const [file] = readdirSync(target);
    packed.push({ name: manifest.name, folder, dependencies: Object.keys(manifest.dependencies ?? {}), tarball: join(target, /** @type {string} */ (file)) });
  }
  const needs = (/** @type {Packed} */ entry) => closure(entry, packed).length;
  return packed.sort((a, b) => needs(a) - needs(b) || a.name.localeCompare(b.name));
}

/** @param {Packed} entry @returns {Promise<Result>} */
async function publint({ tarball }) {
  const { code, output } = await run(process.execPath, [bin("publint/src/cli.js"), tarball, "--strict"]);
  return { check: "publint --strict", problem: code === 0 && !/Warnings|Errors/.test(output) ? undefined : output };
}

/** ESM only, on purpose: that CommonJS callers get ESM is the one rule left out. @param {Packed} entry @returns {Promise<Result>} */
async function areTheTypesWrong({ tarball }) {
  const { code, output } = await run(process.execPath, [bin("@arethetypeswrong/cli/dist/index.js"), tarball, "--profile", "node16", "--ignore-rules", "cjs-resolves-to-esm", "--format", "ascii"]);
  return { check: "attw --profile node16", problem: code === 0 ? undefined : output };
}

/** @param {Packed} entry @returns {Promise<Result>} */
async function size(entry) {
  const dist = join(entry.folder, "dist");
  const scripts = readdirSync(dist).filter((file) => file.endsWith(".js"));
  const bytes = scripts.reduce((sum, file) => sum + gzipSync(readFileSync(join(dist, file))).length, 0);
  const limit = limits[entry.name];
  const problem = limit === undefined ? `tools/package-limits.json has no limit for it; it has ${bytes} bytes` : bytes > limit ? `expected at most ${limit} bytes of compressed scripts, got ${bytes}` : undefined;
  return { check: "size", problem, fact: `scripts ${kib(bytes)} compressed, package ${kib(statSync(entry.tarball).size)}` };
}

/**
 * npm-installs a package and those of ours that it needs into an empty project. Only @kvquant/cpu runs its install script, which compiles the addon where no binary fits; the others borrow it.
 * @param {Packed} entry @param {Packed[]} packed @param {{ work: string, addon: string | undefined }} options
 */
async function install(entry, packed, { work, addon }) {
  const folder = join(work, "projects", shortName(entry));
  mkdirSync(folder, { recursive: true });
  const dependencies = Object.fromEntries(closure(entry, packed).map(({ name, tarball }) => [name, `file:${tarball}`]));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module", dependencies }));
  const scripts = shortName(entry) === "cpu" || addon === undefined ? [] : ["--ignore-scripts"];
  const npm = process.platform === "win32" ? "npm.cmd" : "npm";
  const { code, output } = await run(npm, ["install", "--no-audit", "--no-fund", "--prefer-offline", ...scripts], { cwd: folder });
  return { folder, problem: code === 0 ? undefined : output };
}

/** Type-checks and runs the first example of the README, or a program's help. @param {Packed} entry @param {string} folder @param {string | undefined} addon @returns {Promise<Result>} */
async function runExample(entry, folder, addon) {
  const env = addonEnvironment(addon);
  const example = /```ts\n(.*?)```/s.exec(readFileSync(join(entry.folder, "README.md"), "utf8"))?.[1];
  if (example === undefined) {
    const program = Object.keys(readManifest(entry.folder).bin ?? {})[0];
    if (program === undefined) return { check: "README example", problem: "README.md has no ts example, and the package no program" };
    const { code, output } = await run(process.execPath, [join(folder, "node_modules", ".bin", program), "--help"], { cwd: folder, env });
    return { check: `${program} --help`, problem: code === 0 ? undefined : output };
  }
  const source = join(folder, "example.ts");
  writeFileSync(source, `${example}\nexport {};\n`);
  const types = ["--noEmit", "--strict", "--target", "esnext", "--module", "nodenext", "--lib", "esnext,dom", "--typeRoots", bin("@types"), "--types", "node", "--skipLibCheck"];
  const checked = await run(process.execPath, [bin("typescript/bin/tsc"), ...types, source], { cwd: folder });
  if (checked.code !== 0) return { check: "types of the README example", problem: checked.output };
  const { transform } = await import("esbuild");
  writeFileSync(join(folder, "example.mjs"), (await transform(readFileSync(source, "utf8"), { loader: "ts", target: "node20" })).code);
  const { code, output } = await run(process.execPath, ["example.mjs"], { cwd: folder, env });
  return { check: "README example", problem: code === 0 && output.trim() !== "" ? undefined : `exit code ${code}\n${output}` };
}

/** @param {string | undefined} addon @returns {Record<string, string>} */
function addonEnvironment(addon) {
  return addon === undefined ? {} : { KVQUANT_ADDON: addon };
}

/** The package and all of ours that it needs. @param {Packed} entry @param {Packed[]} packed @param {Set<Packed>} [found] @returns {Packed[]} */
function closure(entry, packed, found = new Set()) {
  if (!found.has(entry)) {
    found.add(entry);
    for (const needed of packed) if (entry.dependencies.includes(needed.name)) closure(needed, packed, found);
  }
  return [...found];
}

/** @param {Packed} entry */
function shortName({ name }) {
  return name.replace("@kvquant/", "");
}

/** @param {string} folder @returns {{ name: string, bin?: Record<string, string>, dependencies?: Record<string, string> }} */
function readManifest(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

/** @param {number} bytes */
function kib(bytes) {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}

/** @param {string} command @param {string[]} args @param {{ cwd?: string, env?: Record<string, string> }} [options] */
function run(command, args, { cwd = root, env = {} } = {}) {
  return runCommand(command, args, { cwd, env: { ...childEnvironment, ...env, NO_COLOR: "1" } });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await setUp({ types: true });
  const { passed, failed, skipped } = await checkPackages({ names: process.argv.slice(2) });
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  process.exitCode = failed > 0 ? 1 : 0;
}
