/** Several page stores as one: the near ones answer first, and what only a far one has is copied nearer. */

import { KvquantError, check } from "@kvquant/spec";
import type { PageStore } from "../page-store.js";

/** One operation of one tier that failed and was passed over. */
export interface TierFailure {
  /** `id` of the store that failed. */
  readonly store: string;
  readonly operation: "get" | "put" | "delete" | "keys" | "bytes";
  /** Key or prefix; undefined for `bytes`. */
  readonly key?: string;
  readonly error: unknown;
}

/**
 * `get` asks the stores in order and copies a hit into those before it that answered "not here"; `put` and `delete` go to all of them.
 * A store that fails is reported to `onError` and passed over; an operation fails only when no store could do it.
 * @param stores nearest first, such as disk and then shared memory; closed together
 * @throws INVALID_ARGUMENT
 */
export function tieredStore(stores: readonly PageStore[], options: { readonly onError: (failure: TierFailure) => void }): PageStore {
  check(stores.length > 0, "tieredStore: stores", "at least one store", 0);
  check(typeof options?.onError === "function", "tieredStore: onError", "a function: failures of a tier are never silent", typeof options?.onError);
  const id = `tiered(${stores.map((store) => store.id).join(", ")})`;

  /** Runs `action` on every store at once; keeps what succeeded. @throws the first failure's kind when nothing did */
  async function all<Result>(operation: TierFailure["operation"], key: string | undefined, action: (store: PageStore) => Promise<Result>): Promise<Result[]> {
    const outcomes = await Promise.allSettled(stores.map(action));
    const failures = outcomes.flatMap((outcome, index) => (outcome.status === "rejected" ? [report(stores[index]!, operation, key, outcome.reason)] : []));
    if (failures.length === stores.length) throw allFailed(id, operation, failures);
    return outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  }

  /** Writes to one store; one that fails must not keep an older value, which it would answer with. */
  async function putInto(store: PageStore, key: string, value: Uint8Array): Promise<void> {
    try {
      await store.put(key, value);
    } catch (error) {
      await store.delete(key).catch((reason: unknown) => report(store, "delete", key, reason));
      throw error;
    }
  }

  function report(store: PageStore, operation: TierFailure["operation"], key: string | undefined, error: unknown): unknown {
    options.onError({ store: store.id, operation, error, ...(key === undefined ? {} : { key }) });
    return error;
  }

  return {
    id,
    async get(key) {
      const missing: PageStore[] = [];
      const failures: unknown[] = [];
      for (const store of stores) {
        let value: Uint8Array | undefined;
        try {
          value = await store.get(key);
        } catch (error) {
          failures.push(report(store, "get", key, error));
          continue;
        }
        if (value === undefined) {
          missing.push(store);
          continue;
        }
        const found = value;
        await Promise.all(missing.map((nearer) => putInto(nearer, key, found).catch((error: unknown) => report(nearer, "put", key, error))));
        return found;
      }
      if (failures.length === stores.length) throw allFailed(id, "get", failures);
      return undefined;
    },
    async put(key, value) {
      await all("put", key, (store) => putInto(store, key, value));
    },
    async delete(key) {
      await all("delete", key, (store) => store.delete(key));
    },
    async *keys(prefix) {
      const seen = new Set<string>();
      const failures: unknown[] = [];
      for (const store of stores) {
        try {
          for await (const key of store.keys(prefix)) {
            if (seen.has(key)) continue;
            seen.add(key);
            yield key;
          }
        } catch (error) {
          failures.push(report(store, "keys", prefix, error));
        }
      }
      if (failures.length === stores.length) throw allFailed(id, "keys", failures);
    },
    /** A record that several stores hold counts in each. */
    async bytes() {
      const known = (await all("bytes", undefined, (store) => store.bytes())).filter((bytes) => bytes !== undefined);
      return known.length === 0 ? undefined : known.reduce((sum, bytes) => sum + bytes, 0);
    },
    async close() {
      const outcomes = await Promise.allSettled(stores.map((store) => store.close()));
      const failed = outcomes.find((outcome) => outcome.status === "rejected");
      if (failed !== undefined) throw failed.reason;
    },
  };
}

/** The first failure's code, and all of them as the cause. */
function allFailed(id: string, operation: string, failures: readonly unknown[]): KvquantError {
  const first = failures[0];
  const code = KvquantError.isInstance(first) ? first.code : "IO_ERROR";
  const messages = failures.map((error) => (error instanceof Error ? error.message : String(error)));
  return new KvquantError(code, `${id}: ${operation} failed in every store: ${messages.join("; ")}`, { cause: failures });
}
