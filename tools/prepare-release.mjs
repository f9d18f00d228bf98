// What the release workflow does before it publishes: refuses to go on without the binaries its other jobs built, and writes where the sources are into every manifest, as npm's
// provenance wants it. That address only the workflow knows, from GITHUB_SERVER_URL and GITHUB_REPOSITORY; the change is not to be committed. `node tools/prepare-release.mjs`
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./setup.mjs";
import { publishedFolders, readManifest } from "./workspace-folders.mjs";

/** @param {string} checkout @param {string} address such as `https://github.com/owner/name` */
export function setRepository(checkout, address) {
  for (const folder of publishedFolders(checkout)) {
    const manifest = { ...readManifest(checkout, folder), repository: { type: "git", url: `git+${address}.git`, directory: folder } };
    writeFileSync(join(checkout, folder, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  }
}

/** Folders that a release needs something in, and that no checkout has. */
const built = ["packages/cpu/prebuilds", "packages/cuda/prebuilds", "packages/cuda/kernels"];

/** Those of them that are empty or not there. @param {string} checkout */
function missingBinaries(checkout) {
  return built.filter((folder) => !existsSync(join(checkout, folder)) || readdirSync(join(checkout, folder)).length === 0);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository } = process.env;
  if (server === undefined || repository === undefined) {
    process.stderr.write("prepare-release: GITHUB_SERVER_URL and GITHUB_REPOSITORY say where the sources are; this is for the release workflow\n");
    process.exit(1);
  }
  const missing = missingBinaries(root);
  if (missing.length > 0) {
    process.stderr.write(`prepare-release: nothing in ${missing.join(", ")}; the jobs before this one build them\n`);
    process.exit(1);
  }
  setRepository(root, `${server}/${repository}`);
}
