/** A page store whose records are framed, checked, and counted. */

import { KvquantError } from "@kvquant/spec";

import type { EngineEvent } from "./engine-event.js";
import type { StoreStats } from "./engine-stats.js";
import type { PageStore } from "./page-store.js";
import { frameRecord, unframeRecord } from "./record-frame.js";

type Counts = { -readonly [Key in "hits" | "misses" | "damaged" | "written" | "dropped" | "failed"]: StoreStats[Key] };

/** Reads nothing that is not what was written under its key, and turns failures of the store into counts. */
export interface CheckedStore {
  readonly counts: Counts;
  /** The decoded record; undefined when there is none, when the store failed, or when it was damaged, in which case it is deleted. */
  read<Value>(key: string, decode: (payload: Uint8Array) => Value): Promise<Value | undefined>;
  /** Whether it was written. */
  write(key: string, payload: Uint8Array): Promise<boolean>;
  remove(key: string): Promise<void>;
  /** Reports a record that turned out wrong after it was read, and deletes it. */
  reject(key: string, error: unknown): Promise<void>;
  /** Counts and tells a failure. */
  report(key: string, error: unknown): void;
  keys(prefix: string): AsyncIterable<string>;
  stats(): StoreStats;
}

/** Milliseconds between two looks at the size of the store. */
const SIZE_INTERVAL = 5000;

export function createCheckedStore(store: PageStore, emit: (event: EngineEvent) => void): CheckedStore {
  const counts: Counts = { hits: 0, misses: 0, damaged: 0, written: 0, dropped: 0, failed: 0 };
  let size: number | undefined;
  let sizeAt = -Infinity;
  const failed = (key: string, error: unknown): undefined => {
    counts.failed++;
    emit({ type: "store-failed", key, error });
  };
  const remove = async (key: string): Promise<void> => {
    await store.delete(key).catch((error: unknown) => failed(key, error));
  };
  const reject = async (key: string, error: unknown): Promise<void> => {
    counts.damaged++;
    emit({ type: "damaged", key, reason: error instanceof Error ? error.message : String(error) });
    await remove(key);
  };
  const refreshSize = (): void => {
    if (performance.now() - sizeAt < SIZE_INTERVAL) return;
    sizeAt = performance.now();
    store.bytes().then(
      (bytes) => (size = bytes),
      (error: unknown) => failed("", error),
    );
  };
  return {
    counts,
    async read(key, decode) {
      const bytes = await store.get(key).catch((error: unknown) => failed(key, error));
      if (bytes === undefined) return undefined;
      try {
        return decode(unframeRecord(key, bytes));
      } catch (error) {
        if (!KvquantError.isInstance(error) || error.code !== "CORRUPT_DATA") throw error;
        await reject(key, error);
        return undefined;
      }
    },
    async write(key, payload) {
      try {
        await store.put(key, frameRecord(key, payload));
        counts.written++;
        return true;
      } catch (error) {
        failed(key, error);
        return false;
      }
    },
    remove,
    reject,
    report: failed,
    keys: (prefix) => store.keys(prefix),
    stats() {
      refreshSize();
      return { id: store.id, ...counts, ...(size === undefined ? {} : { bytes: size }) };
    },
  };
}
