// Copies the C++ sources into the package before it is packed, so that it can be built from source anywhere.
import { cpSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));
const repository = join(packageFolder, "..", "..");
rmSync(join(packageFolder, "native"), { recursive: true, force: true });
for (const part of ["include", "ops", "runtime", "node"]) cpSync(join(repository, "native", part), join(packageFolder, "native", part), { recursive: true });
