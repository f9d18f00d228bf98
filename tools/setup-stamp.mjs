// What a checkout was set up from: hashes of everything that an installation, a build and the addons depend on, and the stamp that a set-up leaves.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { addonSources } from "./setup-addons.mjs";
import { readManifest, workspaceFolders } from "./workspace-folders.mjs";

/** @typedef {import("./setup-addons.mjs").AddonName} AddonName */
/** @typedef {{ install: string, build: string, addons: Record<AddonName, string> }} Fingerprints */
/** `types`: the build that declarations were made for; `addons`: what each was compiled from, or failed to be. @typedef {{ install?: string, build?: string, types?: string, addons?: Partial<Record<AddonName, string>> }} Stamp */

/** What is written of an addon that could not be built: it is tried again with other sources only. @param {string} hash */
export const failedBuild = (hash) => `failed ${hash}`;

/** @param {string} root @returns {Fingerprints} */
export function fingerprints(root) {
  const runtime = `${process.platform} ${process.arch} ${process.versions.modules}`;
  const hash = (/** @type {string[]} */ files, /** @type {string} */ salt) => hashFiles(root, files, salt);
  const list = (/** @type {string} */ folder) => listFiles(root, folder);
  const manifests = ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"];
  const sources = [...list("tools/tsup"), ...list("tools/tsconfig"), "turbo.json"];
  for (const folder of workspaceFolders(root)) {
    manifests.push(`${folder}/package.json`);
    sources.push(`${folder}/tsconfig.json`, `${folder}/tsup.config.ts`);
    sources.push(...list(`${folder}/src`).filter((file) => !file.endsWith(".test.ts")));
  }
  const install = hash(manifests, runtime);
  const addonHash = (/** @type {AddonName} */ name) => {
    const native = addonSources[name].flatMap((part) => list(`native/${part}`).filter((file) => /\.(h|cpp)$/.test(file)));
    return hash([...native, `packages/${name}/binding.gyp`, ...list(`packages/${name}/scripts`), ...list("packages/cpu/scripts")], runtime);
  };
  return { install, build: hash(sources, install), addons: { cpu: addonHash("cpu"), cuda: addonHash("cuda") } };
}

/** Files that package manifests promise and that are not there. @param {string} root @param {boolean} types @returns {string[]} */
export function missingOutputs(root, types) {
  return workspaceFolders(root).flatMap((folder) => {
    const { exports = {}, bin = {} } = readManifest(root, folder);
    const promised = [...Object.values(exports).flatMap((entry) => (types ? [entry.default, entry.types] : [entry.default])), ...Object.values(bin)];
    return promised.map((path) => join(folder, path)).filter((path) => !existsSync(join(root, path)));
  });
}

/** @param {string} file @returns {Stamp} */
export function readStamp(file) {
  if (!existsSync(file)) return {};
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return {}; // a stamp that cannot be read is no stamp: everything is checked again
  }
}

/** @param {string} file @param {Stamp} stamp */
export function writeStamp(file, stamp) {
  const aside = `${file}.${process.pid}`;
  writeFileSync(aside, JSON.stringify(stamp));
  renameSync(aside, file);
}

/** @param {string} root @param {string} folder @returns {string[]} files below it, relative to the root, sorted */
function listFiles(root, folder) {
  if (!existsSync(join(root, folder))) return [];
  const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(root, join(entry.parentPath, entry.name))).sort();
}

/** @param {string} root @param {string[]} files @param {string} salt */
function hashFiles(root, files, salt) {
  const hash = createHash("sha256").update(salt);
  for (const file of files) {
    const path = join(root, file);
    hash.update(`\0${file}\0`);
    if (existsSync(path)) hash.update(readFileSync(path));
  }
  return hash.digest("hex");
}
