/** A folder that one process at a time may use: a file names its owner, and is taken over when that process is gone, however it ended. */

import { readFileSync, rmSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { takeLockFile } from "@kvquant/model/files";
import { KvquantError } from "@kvquant/spec";

const FILE = "owner.json";

/** Folders locked by this process: a process is no stranger to itself. */
const held = new Set<string>();

/**
 * Takes the folder, which is made when it is not there.
 * @param folder absolute path
 * @returns releases it
 * @throws UNAVAILABLE when a living process holds it, IO_ERROR
 */
export async function lockFolder(folder: string): Promise<() => void> {
  if (held.has(folder)) throw inUse(folder, "this process");
  held.add(folder);
  const path = join(folder, FILE);
  try {
    await mkdir(folder, { recursive: true });
    if (!(await takeLockFile(path, JSON.stringify(describeThisProcess()), isGone))) {
      const owner = readOwner(await readFile(path, "utf8").catch(() => ""));
      throw inUse(folder, owner === undefined ? "a process that is just starting" : `process ${owner.process}`);
    }
  } catch (error) {
    held.delete(folder);
    throw error;
  }
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

function inUse(folder: string, who: string): KvquantError {
  return new KvquantError("UNAVAILABLE", `${folder}: in use by ${who}; a page store belongs to one process, give each its own path`);
}

function describeThisProcess(): Owner {
  return { process: process.pid, started: readStat(process.pid)?.started ?? "" };
}

function isGone(signature: string): boolean {
  const owner = readOwner(signature);
  return owner === undefined || !isAlive(owner);
}

/** Undefined when the signature names nobody. */
function readOwner(signature: string): Owner | undefined {
  try {
    return JSON.parse(signature) as Owner;
  } catch {
    return undefined;
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
