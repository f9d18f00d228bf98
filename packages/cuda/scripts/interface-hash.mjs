// Prints what addon and kernels must agree on: a hash of the headers that both are compiled from (structures of launches, page layout, names). The addon keeps it from its build, a set of
// kernels keeps it in interface.txt, and kernels of another build are refused instead of misread.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { nativeFolder } from "./native-folder.mjs";

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));

/** @returns {string} 16 hexadecimal digits */
export function interfaceHash() {
  const native = join(packageFolder, nativeFolder());
  const parts = readdirSync(join(native, "cuda"), { withFileTypes: true }).filter((entry) => entry.isDirectory() && !["test", "bench"].includes(entry.name)).map(({ name }) => `cuda/${name}`);
  const headers = [...parts, "include/kvquant"].filter((folder) => existsSync(join(native, folder))).flatMap((folder) => readdirSync(join(native, folder)).filter((name) => name.endsWith(".h")).map((name) => `${folder}/${name}`));
  const hash = createHash("sha256");
  for (const header of headers.sort()) hash.update(header).update("\0").update(readFileSync(join(native, header), "utf8").replaceAll("\r\n", "\n")).update("\0");
  return hash.digest("hex").slice(0, 16);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) process.stdout.write(interfaceHash());
