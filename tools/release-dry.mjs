// `npm run release:dry`: would a release work? In a throw-away clone of what is committed: changesets, the versions they give, and every tarball to `npm publish --dry-run`.
// Publishes nothing and leaves the checkout as it is. The native addons of other platforms and the CUDA kernels come from the release workflow and are not in these tarballs.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "./run-command.mjs";
import { setRepository } from "./prepare-release.mjs";
import { childEnvironment, pnpmCommand, root, setUp } from "./setup.mjs";
import { publishedFolders, readManifest } from "./workspace-folders.mjs";

const changeset = join(root, "node_modules/@changesets/cli/bin.js");
const npm = process.platform === "win32" ? "npm.cmd" : "npm";
const work = mkdtempSync(join(tmpdir(), "kvquant-release-"));
try {
  await setUp({ types: true });
  const copy = join(work, "checkout");
  await run("git", ["clone", "--quiet", root, copy], root);
  const before = versions(copy);
  process.stdout.write(`${await run(process.execPath, [changeset, "status", "--verbose"], root)}\n`);
  await run(process.execPath, [changeset, "version"], copy);
  setRepository(copy, "https://github.com/owner/name");
  const [pnpm, ...args] = /** @type {[string, ...string[]]} */ (pnpmCommand());
  await run(pnpm, [...args, "install", "--frozen-lockfile", "--prefer-offline", "--ignore-scripts"], copy);
  for (const folder of publishedFolders(copy)) {
    cpSync(join(root, folder, "dist"), join(copy, folder, "dist"), { recursive: true });
    const target = join(work, "tarballs", folder);
    mkdirSync(target, { recursive: true });
    await run(pnpm, [...args, "pack", "--pack-destination", target], join(copy, folder));
    const tarball = join(target, /** @type {string} */ (readdirSync(target)[0]));
    const report = JSON.parse(await run(npm, ["publish", tarball, "--dry-run", "--json", "--access", "public"], work, { silent: true }));
    const { id, size, entryCount } = report[readManifest(copy, folder).name] ?? report; // npm 11 and 10
    process.stdout.write(`would publish ${id} (now ${before.get(folder)}), ${(size / 1024).toFixed(0)} KiB, ${entryCount} files\n`);
  }
} catch (error) {
  process.stdout.write(`FAILED: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}

/** @param {string} checkout @returns {Map<string, string>} by folder */
function versions(checkout) {
  return new Map(publishedFolders(checkout).map((folder) => [folder, readManifest(checkout, folder).version]));
}

/** What a program wrote; rejects when it fails. @param {string} command @param {string[]} args @param {string} cwd @param {{ silent?: boolean }} [options] without npm's notices */
async function run(command, args, cwd, { silent = false } = {}) {
  const { code, output } = await runCommand(command, args, { cwd, env: { ...childEnvironment, NO_COLOR: "1", ...(silent && { npm_config_loglevel: "silent" }) } });
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${output}`);
  return output.trim();
}
