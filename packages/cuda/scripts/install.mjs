// Runs when the package is installed: keeps a prebuilt addon that fits, builds one from source otherwise. Neither needs CUDA. In the repository `tools/setup.mjs` builds it.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { nativeFolder } from "./native-folder.mjs";

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));

if (nativeFolder() === "native") {
  try {
    createRequire(import.meta.url)("node-gyp-build")(packageFolder);
  } catch {
    const { status } = spawnSync("npx", ["--yes", "node-gyp@12.4.0", "rebuild"], { cwd: packageFolder, stdio: "inherit" });
    if (status !== 0) console.warn("@kvquant/cuda: the addon could not be built; a C++20 compiler, make and Python 3 are needed. cudaInfo() says so too, and the other backends work without it.");
  }
}
