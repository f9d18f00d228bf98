/** Keeps two processes from downloading into the same part file. */

import { mkdir, open, readFile, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ioError } from "../files/io-error.js";
import { throwIfCancelled } from "./failures.js";
import type { ResolveContext } from "./resolve-options.js";

/** A lock is signed as soon as it is made; one that still is not after so long never will be. */
const UNSIGNED_MILLISECONDS = 10_000;

/**
 * Runs `work` while holding the lock file `path`, waiting for whoever has it. A lock of a process of this machine that is no more is taken over, and one that nobody signed.
 * @throws CANCELLED while waiting, IO_ERROR, and what `work` throws
 */
export async function withLock<T>(path: string, context: ResolveContext, work: () => Promise<T>): Promise<T> {
  await attempt(path, mkdir(dirname(path), { recursive: true }));
  while (!(await take(path))) {
    throwIfCancelled(context.signal, path);
    if (await isStale(path)) {
      await attempt(path, rm(path, { force: true }));
      continue;
    }
    context.progress(`waiting for another download (${path} goes away when it ends)`);
    await sleep(200);
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function take(path: string): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await open(path, "wx");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw ioError("write", path, cause);
  }
  try {
    await file.writeFile(`${hostname()} ${process.pid}`);
    await file.close();
    return true;
  } catch (cause) {
    // A lock that names nobody would hold everyone up.
    await file.close().catch(() => undefined);
    await rm(path, { force: true });
    throw ioError("write", path, cause);
  }
}

async function isStale(path: string): Promise<boolean> {
  const found = await Promise.all([readFile(path, "utf8"), stat(path)]).catch(() => undefined);
  if (found === undefined) return false; // Gone just now.
  const [text, status] = found;
  const [, host, pid] = /^(.+) (\d+)$/.exec(text) ?? [];
  // Its process ended between making and signing it.
  if (host === undefined) return Date.now() - status.mtimeMs > UNSIGNED_MILLISECONDS;
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

async function attempt<T>(path: string, work: Promise<T>): Promise<T> {
  return work.catch((cause: unknown) => {
    throw ioError("write", path, cause);
  });
}
