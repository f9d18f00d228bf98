/** Keeps two processes from downloading into the same part file. */

import { mkdir, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ioError } from "../files/io-error.js";
import { takeLockFile } from "../files/lock-file.js";
import { throwIfCancelled } from "./failures.js";
import type { ResolveContext } from "./resolve-options.js";

/**
 * Runs `work` while holding the lock file `path`, waiting for whoever has it. A lock of a process of this machine that is no more is taken over, and one that nobody signed.
 * @throws CANCELLED while waiting, IO_ERROR, and what `work` throws
 */
export async function withLock<T>(path: string, context: ResolveContext, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true }).catch((cause: unknown) => {
    throw ioError("write", path, cause);
  });
  while (!(await takeLockFile(path, `${hostname()} ${process.pid}`, isGone))) {
    throwIfCancelled(context.signal, path);
    context.progress(`waiting for another download (${path} goes away when it ends)`);
    await sleep(200);
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

/** Of another machine that shares the folder nobody knows. */
function isGone(signature: string): boolean | undefined {
  const [, host, pid] = /^(.+) (\d+)$/.exec(signature) ?? [];
  if (host === undefined) return undefined;
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
