// Compiles the addon of the package in the current folder with node-gyp into build/Release. Needs a C++20 compiler, make and Python 3.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);

// Headers of the running Node are used where they are installed; otherwise node-gyp downloads them.
const prefix = dirname(dirname(process.execPath));
const headers = existsSync(join(prefix, "include", "node", "node_api.h")) ? [`--nodedir=${prefix}`] : [];
const result = spawnSync(process.execPath, [require.resolve("node-gyp/bin/node-gyp.js"), "configure", "build", "--loglevel=warn", `--jobs=${availableParallelism()}`, ...headers, ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exitCode = result.status ?? 1;
