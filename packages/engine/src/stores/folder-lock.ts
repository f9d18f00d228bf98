/** A folder that one process at a time may use: a file names its owner, and is taken over when that process is gone, however it ended. */

import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KvquantError } from "@kvquant/spec";

const FILE = "owner.json";

/** Locks of this process, by path: a process is no stranger to itself. */
const held = new Set<string>();

/**
 * Takes the folder, which is made when it is not there.
 * @param folder absolute path
 * @returns releases it
 * @throws UNAVAILABLE when a living process holds it
 */
export function lockFolder(folder: string): () => void {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, FILE);
  const owner = readOwner(path);
  if (held.has(folder) || (owner !== undefined && isAlive(owner))) {
    const who = held.has(folder) ? "this process" : `process ${owner?.process}`;
    throw new KvquantError("UNAVAILABLE", `${folder}: in use by ${who}; a page store belongs to one process, give each its own path`);
  }
  // Written aside and renamed, so that a reader never sees half a file.
  const aside = `${path}.${randomUUID()}`;
  writeFileSync(aside, JSON.stringify({ process: process.pid, started: readStat(process.pid)?.started ?? "" }));
  renameSync(aside, path);
  held.add(folder);
  return () => {
    held.delete(folder);
    rmSync(path, { force: true });
  };
}

interface Owner {
  readonly process: number;
  /** When that process started, as the system counts it: process numbers are used again, above all in containers. */
  readonly started: string;
}

function readOwner(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Owner;
  } catch (error) {
    // No file, or one that names nobody: nobody owns the folder.
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isAlive(owner: Owner): boolean {
  if (owner.process === process.pid) return false; // of an earlier process with our number; our own locks are in `held`
  try {
    process.kill(owner.process, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const found = readStat(owner.process);
  return found === undefined || (found.started === owner.started && !found.ended);
}

/** Clock ticks from boot to the start of a process, and whether it is a zombie (fields 22 and 3 of /proc/<pid>/stat); undefined where the system does not tell. */
function readStat(pid: number): { readonly started: string; readonly ended: boolean } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { started: fields[19] ?? "", ended: fields[0] === "Z" };
  } catch {
    return undefined; // no /proc on this system: the number alone decides
  }
}
