// Builds the addon of the package in the current folder for this platform into prebuilds/, the layout node-gyp-build looks in.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname } from "node:path";

const require = createRequire(import.meta.url);
const prefix = dirname(dirname(process.execPath));
const result = spawnSync(process.execPath, [require.resolve("prebuildify/bin.js"), "--napi", "--strip", "--target", process.version], {
  stdio: "inherit",
  env: { ...process.env, npm_config_nodedir: prefix },
});
process.exitCode = result.status ?? 1;
