/** Writes the folder of a new quantizer. */

import { existsSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { KvquantError } from "@kvquant/spec";
import { templateFiles } from "./template-files.js";

/** What was written. */
export interface NewQuantizer {
  readonly folder: string;
  /** Paths below the folder. */
  readonly files: readonly string[];
  /** Whether its test finds @kvquant/quant. */
  readonly linked: boolean;
}

/**
 * Writes `parent/name` with a link to the @kvquant/quant that this program runs on.
 * @throws INVALID_ARGUMENT when it exists already, IO_ERROR when it cannot be written
 */
export async function writeQuantizer(name: string, parent: string): Promise<NewQuantizer> {
  const folder = join(parent, name);
  if (existsSync(folder)) throw new KvquantError("INVALID_ARGUMENT", `new-quantizer: expected a folder that does not exist yet, got ${folder}; choose another name, or remove it first`);
  const files = templateFiles(name);
  try {
    await mkdir(folder, { recursive: true });
    for (const { path, text } of files) await writeFile(join(folder, path), text, { flag: "wx" });
    const library = findLibrary();
    if (library !== undefined) {
      const scope = join(folder, "node_modules", "@kvquant");
      await mkdir(scope, { recursive: true });
      // A junction needs no privilege on Windows; elsewhere the kind is ignored.
      await symlink(library, join(scope, "quant"), "junction");
    }
    return { folder, files: files.map(({ path }) => path), linked: library !== undefined };
  } catch (error) {
    throw new KvquantError("IO_ERROR", `new-quantizer: expected a folder that can be written, got ${String(error)}`, { cause: error });
  }
}

/** The folder of @kvquant/quant that belongs to this program; undefined where it is bundled. */
function findLibrary(): string | undefined {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const library = join(folder, "node_modules", "@kvquant", "quant");
    if (existsSync(join(library, "package.json"))) return library;
    if (folder === dirname(folder)) return undefined;
  }
}
