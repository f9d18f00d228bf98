// Prints the folder of the C++ sources relative to this package: its own copy once published, the repository's before.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));

/** @returns {string} `native` or `../../native` */
export function nativeFolder() {
  return existsSync(join(packageFolder, "..", "..", "pnpm-workspace.yaml")) ? "../../native" : "native";
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) process.stdout.write(nativeFolder());
