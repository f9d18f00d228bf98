/** A file that one process at a time can make: whoever makes it has the lock, and one whose owner is gone is taken over. */

import { open, readFile, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { ioError } from "./io-error.js";

/** A lock is signed as soon as it is made; one that still is not after so long never will be. */
const UNSIGNED_MILLISECONDS = 10_000;

/**
 * Tries to take the lock file `path`; the owner removes it when done.
 * @param signature names this process; not empty
 * @param isGone whether the owner with that signature is no more; undefined for one that names nobody, which is as good as none
 * @returns false when another has the lock, or is just taking it over
 * @throws IO_ERROR
 */
export async function takeLockFile(path: string, signature: string, isGone: (signature: string) => boolean | undefined): Promise<boolean> {
  if (await make(path, signature)) return true;
  if (!(await isAbandoned(path, isGone))) return false;
  // One at a time removes a lock, and looks again first: it may be the one that another has just made in place of the abandoned one.
  const removal = `${path}.removal`;
  if (!(await make(removal, signature))) {
    if (await isAbandoned(removal, isGone)) await rm(removal, { force: true }); // the next try goes on
    return false;
  }
  try {
    if (await isAbandoned(path, isGone)) await rm(path, { force: true });
    return await make(path, signature);
  } finally {
    await rm(removal, { force: true });
  }
}

/** False when the file is there already. */
async function make(path: string, signature: string): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await open(path, "wx");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw ioError("write", path, cause);
  }
  try {
    await file.writeFile(signature);
    await file.close();
    return true;
  } catch (cause) {
    // A lock that names nobody would hold everyone up.
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw ioError("write", path, cause);
  }
}

async function isAbandoned(path: string, isGone: (signature: string) => boolean | undefined): Promise<boolean> {
  try {
    const signature = await readFile(path, "utf8");
    const gone = signature === "" ? undefined : isGone(signature);
    return gone ?? Date.now() - (await stat(path)).mtimeMs > UNSIGNED_MILLISECONDS;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return false; // gone just now
    throw ioError("read", path, cause);
  }
}
