// Copies the C++ sources the addon is built from into the package before it is packed.
import { cpSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));
const native = join(packageFolder, "..", "..", "native");
const isSource = (/** @type {string} */ path) => !/\.(cu|cpp|md)$|\/test$/.test(path) || path.includes("cuda-node/");
rmSync(join(packageFolder, "native"), { recursive: true, force: true });
for (const part of ["include", "runtime", "node", "cuda-node", "cuda"]) {
  cpSync(join(native, part), join(packageFolder, "native", part), { recursive: true, filter: (path) => isSource(path) });
}
