// Prints the sources of one target of binding.gyp: `avx2`, `avx512`, or `common` for all without an instruction set in their name. x86 files are left out elsewhere.
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { nativeFolder } from "./native-folder.mjs";

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = nativeFolder();
const wanted = process.argv[2];

const sources = ["ops", "runtime", "node"].flatMap((part) =>
  readdirSync(join(packageFolder, folder, part), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".cpp"))
    .map((name) => `${folder}/${part}/${name.replaceAll("\\", "/")}`),
);
const isaOf = (/** @type {string} */ name) => /\.(avx2|avx512)\.cpp$/.exec(name)?.[1] ?? "common";
for (const source of sources.sort()) if (isaOf(source) === wanted) console.log(source);
