// The packages and apps of a checkout.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Folders with a package.json below a checkout, such as `packages/spec`, sorted. @param {string} checkout */
export function workspaceFolders(checkout) {
  return ["packages", "apps"].flatMap((group) => {
    const names = existsSync(join(checkout, group)) ? readdirSync(join(checkout, group)).sort() : [];
    return names.map((name) => `${group}/${name}`).filter((folder) => existsSync(join(checkout, folder, "package.json")));
  });
}

/** Those that are published. @param {string} checkout */
export function publishedFolders(checkout) {
  return workspaceFolders(checkout).filter((folder) => readManifest(checkout, folder).private !== true);
}

/** @param {string} checkout @param {string} folder @returns {{ name: string, version: string, private?: boolean, exports?: Record<string, { default: string, types: string }>, bin?: Record<string, string> }} */
export function readManifest(checkout, folder) {
  return JSON.parse(readFileSync(join(checkout, folder, "package.json"), "utf8"));
}
