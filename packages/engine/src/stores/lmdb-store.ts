/** A page store on disk, in an LMDB database: bounded, in the order of use, and whole after any end of the process. */

import { resolve } from "node:path";
import { KvquantError, check } from "@kvquant/spec";
import { checkFits, checkKey, checkMaxBytes, checkValue, closedError } from "./check-record.js";
import { lockFolder } from "./folder-lock.js";
import { openLmdbDatabase } from "./lmdb-database.js";
import type { LmdbDatabase, RecordChange, RecordEntry } from "./lmdb-database.js";
import { toStoreError } from "./lmdb-error.js";
import { createRecencyIndex } from "./recency-index.js";
import type { PageStore } from "../page-store.js";

export interface LmdbStoreOptions {
  /** Folder of the database; made when it is not there, and used by one process at a time. */
  readonly path: string;
  /** Most bytes of values held; beyond it the least recently used go first. The file is somewhat larger: keys, and pages not yet used again. */
  readonly maxBytes: number;
  /** What happens with a database of another format, or a damaged one. `clear` deletes it. Default: `refuse`. */
  readonly whenUnreadable?: "refuse" | "clear";
}

const id = "lmdb";

/**
 * Opens the store. Writes of the same moment share one transaction; `put` resolves when it is committed, which a killed process does not undo.
 * Uses are remembered with the next write and on `close`: after a kill the order of the last reads may be lost, the sizes never.
 * @throws INVALID_ARGUMENT; UNAVAILABLE when another process uses the folder; UNSUPPORTED for a database of another format; CORRUPT_DATA; OUT_OF_CAPACITY; IO_ERROR
 */
export async function openLmdbStore(options: LmdbStoreOptions): Promise<PageStore> {
  check(typeof options.path === "string" && options.path !== "", "openLmdbStore: path", "a folder", options.path);
  checkMaxBytes("openLmdbStore", options.maxBytes);
  const folder = resolve(options.path);
  const unlock = await tryTo("openLmdbStore", folder, () => lockFolder(folder));
  try {
    const database = await openLmdbDatabase(folder, options.whenUnreadable ?? "refuse");
    return await makeStore({ database, folder, maxBytes: options.maxBytes, unlock });
  } catch (error) {
    unlock();
    throw await toStoreError("openLmdbStore", error, folder);
  }
}

interface Parts {
  readonly database: LmdbDatabase;
  readonly folder: string;
  readonly maxBytes: number;
  readonly unlock: () => void;
}

async function makeStore({ database, folder, maxBytes, unlock }: Parts): Promise<PageStore> {
  const index = createRecencyIndex();
  let lastUse = 0;
  /** Reads since the last write: their place in the order is written with it. */
  const used = new Map<string, number>();
  /** Changes that wait for the transaction under way, and those in it. Readers see both. */
  let waiting = new Map<string, RecordChange>();
  let writing = new Map<string, RecordChange>();
  /** The transaction that will take what waits, and the last one begun or planned. */
  let nextRound: Promise<void> | undefined;
  let lastRound: Promise<void> = Promise.resolve();
  let closing: Promise<void> | undefined;

  const load = () => {
    index.clear();
    used.clear();
    for (const { key, size, use } of database.entries().sort((one, other) => one.use - other.use)) {
      index.set(key, size);
      lastUse = Math.max(lastUse, use);
    }
  };
  load();
  // A smaller limit than last time takes effect at once.
  if (index.bytes > maxBytes) await write(new Map());

  /** Brings the index to what `changes` leave, then the database to the index. The index is read again from the database when that fails. */
  async function write(changes: Map<string, RecordChange>): Promise<void> {
    const removed = new Map<string, number>();
    const remove = (key: string) => {
      const size = index.size(key);
      if (size !== undefined && !removed.has(key)) removed.set(key, size);
    };
    for (const [key, { value }] of changes) {
      remove(key);
      if (value === undefined) index.delete(key);
      else index.set(key, value.length);
    }
    for (const { key, size } of index.evict(maxBytes)) {
      if (!changes.has(key)) removed.set(key, size);
      changes.set(key, { value: undefined, use: 0 }); // readers see it gone while the transaction runs
    }
    const gone = [...removed].map(([key, size]): RecordEntry => ({ key, size, use: 0 }));
    const uses = [...used].flatMap(([key, use]): RecordEntry[] => {
      const size = index.size(key);
      return size === undefined || changes.has(key) ? [] : [{ key, size, use }];
    });
    used.clear();
    try {
      await database.write(changes, gone, uses);
    } catch (error) {
      load();
      throw error;
    }
  }

  /** Takes all that came in while the round before ran. */
  async function writeWaiting(): Promise<void> {
    nextRound = undefined;
    writing = waiting;
    waiting = new Map();
    try {
      await write(writing);
    } finally {
      writing = new Map();
    }
  }

  async function change(what: string, key: string, value: Uint8Array | undefined): Promise<void> {
    waiting.set(key, { value, use: ++lastUse });
    // A round starts when the one before it is done, whether that went well or not: its own callers were told.
    nextRound ??= lastRound = lastRound.catch(() => undefined).then(writeWaiting);
    const mine = nextRound;
    await tryTo(what, folder, () => mine);
  }

  const enter = (key?: string) => {
    if (closing !== undefined) throw closedError(id);
    if (key !== undefined) checkKey(id, key);
  };

  return {
    id,
    async get(key) {
      enter(key);
      const coming = waiting.get(key) ?? writing.get(key);
      if (coming !== undefined) return coming.value?.slice();
      const size = index.size(key);
      if (size === undefined) return undefined;
      index.touch(key);
      used.set(key, ++lastUse);
      return tryTo("get", folder, () => database.read(key, size));
    },
    async put(key, value) {
      enter(key);
      checkValue(id, value);
      checkFits(id, value, maxBytes);
      await change("put", key, Uint8Array.from(value));
    },
    async delete(key) {
      enter(key);
      await change("delete", key, undefined);
    },
    async *keys(prefix) {
      enter();
      const keys = new Set(index.keys(prefix));
      for (const changes of [writing, waiting]) {
        for (const [key, { value }] of changes) {
          if (value === undefined) keys.delete(key);
          else if (key.startsWith(prefix)) keys.add(key);
        }
      }
      yield* keys;
    },
    async bytes() {
      enter();
      return index.bytes;
    },
    close() {
      closing ??= tryTo("close", folder, async () => {
        try {
          await lastRound.catch(() => undefined);
          if (used.size > 0) await write(new Map());
        } finally {
          await database.close();
          unlock();
        }
      });
      return closing;
    },
  };
}

async function tryTo<Result>(what: string, folder: string, action: () => Promise<Result>): Promise<Result> {
  try {
    return await action();
  } catch (error) {
    throw KvquantError.isInstance(error) ? error : await toStoreError(`${id} ${what}`, error, folder);
  }
}
