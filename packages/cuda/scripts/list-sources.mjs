// Prints the sources of the addon for binding.gyp: its own, and what it shares with the CPU's.
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { nativeFolder } from "./native-folder.mjs";

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));
const native = nativeFolder();
for (const folder of ["cuda-node", "cuda/tables", "ops/page", "ops/rope"]) {
  const path = join(packageFolder, native, folder);
  if (!existsSync(path)) continue;
  for (const name of readdirSync(path).sort()) if (name.endsWith(".cpp")) console.log(`${native}/${folder}/${name}`);
}
console.log(`${native}/runtime/codec.cpp`);
