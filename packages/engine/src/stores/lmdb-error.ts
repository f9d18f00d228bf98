/** What LMDB and the file system report, as KvquantErrors. */

import { statfs } from "node:fs/promises";
import { KvquantError } from "@kvquant/spec";

/** Codes of LMDB (lmdb.h) for a database it cannot make sense of: MDB_PAGE_NOTFOUND, MDB_CORRUPTED, MDB_PANIC, MDB_VERSION_MISMATCH, MDB_INVALID, MDB_BAD_TXN. */
const CORRUPT = new Set([-30797, -30796, -30795, -30794, -30793, -30782]);
/** MDB_MAP_FULL, and the system's ENOSPC and EDQUOT. */
const FULL = new Set<unknown>([-30792, 28, 122, "ENOSPC", "EDQUOT"]);
const EIO = 5;
/** Space below which an unexplained write error is one of a full disk: LMDB reports a write cut short as EIO. */
const SPACE_OF_A_COMMIT = 64 * 2 ** 20;

/**
 * Tells a full disk, a damaged database and other errors of reading or writing apart.
 * @returns OUT_OF_CAPACITY, CORRUPT_DATA or IO_ERROR; a KvquantError is returned as it is
 */
export async function toStoreError(what: string, error: unknown, folder: string): Promise<KvquantError> {
  if (KvquantError.isInstance(error)) return error;
  const cause = await findCause(error);
  const code = (cause as { code?: unknown }).code;
  const message = cause instanceof Error ? cause.message : String(cause);
  if (typeof code === "number" && CORRUPT.has(code)) return new KvquantError("CORRUPT_DATA", `${what}: the database in ${folder} is damaged: ${message}; remove the folder or open it with whenUnreadable: "clear"`, { cause });
  if (FULL.has(code) || (code === EIO && (await isAlmostFull(folder)))) return new KvquantError("OUT_OF_CAPACITY", `${what}: no space left for ${folder}: ${message}; free some or lower maxBytes`, { cause });
  return new KvquantError("IO_ERROR", `${what}: ${folder}: ${message}`, { cause });
}

/** A failed commit hides its reason in a promise of its own (`commitError` of lmdb-js). */
async function findCause(error: unknown): Promise<unknown> {
  const hidden = (error as { commitError?: unknown }).commitError;
  if (!(hidden instanceof Promise)) return error;
  return hidden.then(
    () => error,
    (cause: unknown) => cause,
  );
}

async function isAlmostFull(folder: string): Promise<boolean> {
  // A folder that cannot even be asked is not full: the first error says more.
  const space = await statfs(folder).catch(() => undefined);
  return space !== undefined && space.bavail * space.bsize < SPACE_OF_A_COMMIT;
}
