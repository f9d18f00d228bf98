// A lock file that names its owner's process, so that one left behind by an interrupted run is taken over.
import { closeSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits until the lock is ours.
 * @param {string} path of the lock file
 * @param {() => void} onWait called once when somebody else holds it
 * @param {{ pollMilliseconds?: number }} [options]
 * @returns {Promise<() => void>} releases it; also done when the process ends
 */
export async function acquireLock(path, onWait, options = {}) {
  let told = false;
  while (!tryLock(path)) {
    if (isAbandoned(path)) {
      rmSync(path, { force: true });
      continue;
    }
    if (!told) onWait();
    told = true;
    await sleep(options.pollMilliseconds ?? 250);
  }
  const release = () => {
    process.off("exit", release);
    rmSync(path, { force: true });
  };
  process.on("exit", release);
  return release;
}

/** @param {string} path */
function tryLock(path) {
  try {
    const file = openSync(path, "wx");
    writeSync(file, String(process.pid));
    closeSync(file);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

const secondsToName = 10;

/** @param {string} path @returns {boolean} true when the owner is no longer running, or never came to write its name */
function isAbandoned(path) {
  const owner = readOwner(path);
  if (owner === undefined) return ageInSeconds(path) > secondsToName;
  try {
    process.kill(owner, 0);
    return false;
  } catch (error) {
    return errorCode(error) === "ESRCH";
  }
}

/** @param {string} path @returns {number | undefined} */
function readOwner(path) {
  try {
    const owner = Number(readFileSync(path, "utf8"));
    return Number.isSafeInteger(owner) && owner > 0 ? owner : undefined;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** @param {string} path @returns {number} 0 when the file is gone */
function ageInSeconds(path) {
  const status = statSync(path, { throwIfNoEntry: false });
  return status === undefined ? 0 : (Date.now() - status.mtimeMs) / 1000;
}

/** @param {unknown} error */
function errorCode(error) {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
