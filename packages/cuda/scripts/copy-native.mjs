// Copies the C++ sources the addon is built from into the package before it is packed.
import { cpSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));
const native = join(packageFolder, "..", "..", "native");
// Headers of all parts, and the sources that list-sources.mjs names.
const isNeeded = (/** @type {string} */ path) => !/\.(cu|cuh|cpp|md)$|\/(test|bench)$/.test(path) || /\/(cuda-node|tables|page|rope)\/[^/]+\.cpp$|runtime\/codec\.cpp$/.test(path);
rmSync(join(packageFolder, "native"), { recursive: true, force: true });
for (const part of ["include", "runtime", "node", "ops", "cuda-node", "cuda"]) {
  cpSync(join(native, part), join(packageFolder, "native", part), { recursive: true, filter: (path) => isNeeded(path) });
}
