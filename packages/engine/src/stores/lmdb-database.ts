/** The LMDB file of a page store: its layout, its format mark, and atomic changes of many records. */

import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { KvquantError } from "@kvquant/spec";
import { open } from "lmdb";
import type { Database, RootDatabase } from "lmdb";
import { toStoreError } from "./lmdb-error.js";
import { prepareLmdbFile } from "./lmdb-file.js";

/** Layout 1: `format` holds the mark, `entries` [size, use] by key, `parts` the bytes by [key, part number]. */
const FORMAT = "kvquant page store 1";

/**
 * A record is cut into parts of one size: 16 LMDB pages of 4096 bytes less the header. LMDB wants pages in a row for a value; with one size, room left by an old record fits a new one,
 * so the file does not grow, and a record may be larger than LMDB's largest value.
 */
const PART_BYTES = 65_504;

/** A record's new value, or undefined to remove it. */
export interface RecordChange {
  readonly value: Uint8Array | undefined;
  /** Position in the order of use. */
  readonly use: number;
}

/** What is known of a record without reading it. */
export interface RecordEntry {
  readonly key: string;
  readonly size: number;
  readonly use: number;
}

/** An open database. Methods throw what LMDB throws; `toStoreError` translates. */
export interface LmdbDatabase {
  entries(): RecordEntry[];
  /** Bytes of a record of known size, or undefined when a part is missing. Page faults happen in another thread. */
  read(key: string, size: number): Promise<Uint8Array | undefined>;
  /** Writes all changes and the new uses of other records in one transaction. */
  write(changes: ReadonlyMap<string, RecordChange>, removed: readonly RecordEntry[], uses: readonly RecordEntry[]): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens or makes the database in an existing folder.
 * @param whenUnreadable `clear` starts anew when there is another database, or a damaged one; `refuse` throws
 * @throws CORRUPT_DATA, UNSUPPORTED (a database of another format), IO_ERROR, OUT_OF_CAPACITY
 */
export async function openLmdbDatabase(folder: string, whenUnreadable: "refuse" | "clear"): Promise<LmdbDatabase> {
  try {
    return await openChecked(folder);
  } catch (error) {
    const known = await toStoreError("openLmdbStore", error, folder);
    if (whenUnreadable === "refuse" || (known.code !== "CORRUPT_DATA" && known.code !== "UNSUPPORTED")) throw known;
  }
  for (const file of ["data.mdb", "lock.mdb"]) await rm(join(folder, file), { force: true });
  return openChecked(folder);
}

async function openChecked(folder: string): Promise<LmdbDatabase> {
  const file = join(folder, "data.mdb");
  await prepareLmdbFile(file);
  const existing = await stat(file).then(
    ({ size }) => size > 0,
    () => false, // not there: a new database is made, and open reports what stands in its way
  );
  // Without eventTurnBatching: its own batches have promises that nobody can catch, and a full disk would end the process with an unhandled rejection.
  const root: RootDatabase<Buffer, string> = open({ path: folder, encoding: "binary", noSubdir: false, maxDbs: 3, eventTurnBatching: false });
  try {
    // Only the root is looked at before the format is known: opening a named database would make it.
    if (existing) checkFormat(root, folder);
    const format: Database<Buffer, string> = root.openDB({ name: "format", encoding: "binary" });
    const mark = format.get("format")?.toString("latin1");
    if (mark === undefined) await format.put("format", Buffer.from(FORMAT, "latin1")); // committed before anything else is made
    else if (mark !== FORMAT) throw otherFormat(folder, mark);
    return makeDatabase(root);
  } catch (error) {
    await root.close();
    throw error;
  }
}

/** @throws UNSUPPORTED unless the database is empty or has our three parts */
function checkFormat(root: RootDatabase<Buffer, string>, folder: string): void {
  const names = new Set([...root.getKeys()].map(String));
  if (names.size > 0 && !names.has("format")) throw otherFormat(folder, `entries such as ${[...names].slice(0, 3).join(", ")}`);
}

function otherFormat(folder: string, got: string): KvquantError {
  return new KvquantError("UNSUPPORTED", `openLmdbStore: ${folder}: expected a database of format "${FORMAT}", got ${got}; give another path, or open it with whenUnreadable: "clear", which deletes it`);
}

function makeDatabase(root: RootDatabase<Buffer, string>): LmdbDatabase {
  const entryTable: Database<Buffer, string> = root.openDB({ name: "entries", encoding: "binary" });
  const parts: Database<Buffer, [string, number]> = root.openDB({ name: "parts", encoding: "binary" });
  const partsOf = (size: number) => Math.max(1, Math.ceil(size / PART_BYTES));
  const keysOf = (key: string, size: number) => Array.from({ length: partsOf(size) }, (_, part): [string, number] => [key, part]);

  return {
    entries() {
      return [...entryTable.getRange()].map(({ key, value }) => ({ key, size: value.readDoubleLE(0), use: value.readDoubleLE(8) }));
    },
    async read(key, size) {
      const keys = keysOf(key, size);
      await parts.prefetch(keys);
      const value = new Uint8Array(size);
      let filled = 0;
      for (const part of keys) {
        const bytes = parts.getBinary(part);
        if (bytes === undefined || filled + bytes.length > size) return undefined;
        value.set(bytes, filled);
        filled += bytes.length;
      }
      return filled === size ? value : undefined;
    },
    async write(changes, removed, uses) {
      // Each write has a promise of its own, which fails with the batch: one report, from the batch, is enough.
      const write = (promise: Promise<boolean>) => void promise.catch(() => undefined);
      const putEntry = (key: string, size: number, use: number) => {
        const entry = Buffer.alloc(16);
        entry.writeDoubleLE(size, 0);
        entry.writeDoubleLE(use, 8);
        write(entryTable.put(key, entry));
      };
      await root.batch(() => {
        for (const { key, size } of removed) {
          write(entryTable.remove(key));
          for (const part of keysOf(key, size)) write(parts.remove(part));
        }
        for (const [key, { value, use }] of changes) {
          if (value === undefined) continue;
          for (const [, part] of keysOf(key, value.length)) {
            const bytes = value.subarray(part * PART_BYTES, (part + 1) * PART_BYTES);
            write(parts.put([key, part], Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)));
          }
          putEntry(key, value.length, use);
        }
        for (const { key, size, use } of uses) putEntry(key, size, use);
      });
      root.resetReadTxn();
    },
    async close() {
      await root.flushed;
      await root.close();
    },
  };
}
