// Prints the sources of the addon for binding.gyp.
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { nativeFolder } from "./native-folder.mjs";

const folder = `${nativeFolder()}/cuda-node`;
const names = readdirSync(join(dirname(dirname(fileURLToPath(import.meta.url))), folder));
for (const name of names.sort()) if (name.endsWith(".cpp")) console.log(`${folder}/${name}`);
