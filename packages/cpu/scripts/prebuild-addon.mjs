// Builds the addon for this platform into prebuilds/, the layout node-gyp-build looks in.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const prefix = dirname(dirname(process.execPath));
const result = spawnSync(process.execPath, [require.resolve("prebuildify/bin.js"), "--napi", "--strip", "--target", process.version], {
  cwd: packageFolder,
  stdio: "inherit",
  env: { ...process.env, npm_config_nodedir: prefix },
});
process.exitCode = result.status ?? 1;
