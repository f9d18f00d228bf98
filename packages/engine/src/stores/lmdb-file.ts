/** Looks at an LMDB file before LMDB maps it: a file of another kind, or one cut short, would end the process instead of raising an error. */

import { open } from "node:fs/promises";
import { KvquantError } from "@kvquant/spec";

// Layout of a meta page (struct MDB_page and MDB_meta of LMDB's mdb.c, 64-bit): a page header of 24 bytes, then the fields below. The first two pages are meta pages; the newer one counts.
const MAGIC = { at: 24, value: 0xbeefc0de };
const PAGE_SIZE_AT = 48;
const LAST_PAGE_AT = 144;
const TRANSACTION_AT = 152;
const META_BYTES = 168;

/** 64 GiB: no transaction of a store leaves that many free pages at the end. A file that names more is damaged; filled up and written to, it would meet the largest file there is, where LMDB ends the process. */
const MAX_MISSING_BYTES = 2 ** 36;

/**
 * Returns when LMDB can open the file, or there is none. A file shorter than its last page is filled up with zeros: pages that are free may be missing at the end of a sound file,
 * and in a damaged one LMDB reports a zero page as MDB_CORRUPTED, where a read past the end would be a bus error.
 * @throws CORRUPT_DATA when the file is not an LMDB database
 */
export async function prepareLmdbFile(path: string): Promise<void> {
  const file = await open(path, "r+").catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  });
  if (file === undefined) return;
  try {
    const { size } = await file.stat();
    if (size === 0) return;
    const first = await readMeta(file, 0);
    const second = first === undefined ? undefined : await readMeta(file, first.pageSize);
    if (first === undefined || second === undefined) throw new KvquantError("CORRUPT_DATA", `${path}: expected an LMDB database, got ${size} bytes of something else`);
    const newest = second.transaction > first.transaction ? second : first;
    const needed = (newest.lastPage + 1) * newest.pageSize;
    if (needed - size > MAX_MISSING_BYTES) throw new KvquantError("CORRUPT_DATA", `${path}: the database names page ${newest.lastPage} as its last, which ${size} bytes cannot have`);
    if (size < needed) await file.truncate(needed);
  } finally {
    await file.close();
  }
}

interface Meta {
  readonly pageSize: number;
  readonly lastPage: number;
  readonly transaction: bigint;
}

async function readMeta(file: Awaited<ReturnType<typeof open>>, offset: number): Promise<Meta | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(META_BYTES), 0, META_BYTES, offset);
  if (bytesRead < META_BYTES || buffer.readUInt32LE(MAGIC.at) !== MAGIC.value) return undefined;
  const pageSize = buffer.readUInt32LE(PAGE_SIZE_AT);
  const sensible = pageSize >= 512 && pageSize <= 65536 && (pageSize & (pageSize - 1)) === 0;
  return sensible ? { pageSize, lastPage: Number(buffer.readBigUInt64LE(LAST_PAGE_AT)), transaction: buffer.readBigUInt64LE(TRANSACTION_AT) } : undefined;
}
