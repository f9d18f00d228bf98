/** Reading of stored results that may not be there yet. */

import { readFile } from "node:fs/promises";

/** The file's bytes; undefined when there is none. Other failures are thrown as they come. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
