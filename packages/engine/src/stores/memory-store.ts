/** A page store in this process's memory, for tests, examples and as the first of several tiers. */

import { checkFits, checkKey, checkMaxBytes, checkValue, closedError } from "./check-record.js";
import { createRecencyIndex } from "./recency-index.js";
import type { PageStore } from "../page-store.js";

/**
 * A store that ends with the process. Values are copied in and out.
 * @param options `maxBytes`: least recently used records go first beyond it; default: no limit
 * @throws INVALID_ARGUMENT
 */
export function memoryStore(options: { readonly maxBytes?: number } = {}): PageStore {
  const id = "memory";
  const maxBytes = options.maxBytes ?? Number.MAX_SAFE_INTEGER;
  checkMaxBytes(id, maxBytes);
  const index = createRecencyIndex();
  const values = new Map<string, Uint8Array>();
  let closed = false;
  const enter = (key?: string) => {
    if (closed) throw closedError(id);
    if (key !== undefined) checkKey(id, key);
  };

  return {
    id,
    async get(key) {
      enter(key);
      index.touch(key);
      return values.get(key)?.slice();
    },
    async put(key, value) {
      enter(key);
      checkValue(id, value);
      checkFits(id, value, maxBytes);
      index.set(key, value.length);
      values.set(key, Uint8Array.from(value));
      for (const evicted of index.evict(maxBytes)) values.delete(evicted.key);
    },
    async delete(key) {
      enter(key);
      index.delete(key);
      values.delete(key);
    },
    async *keys(prefix) {
      enter();
      yield* index.keys(prefix);
    },
    async bytes() {
      enter();
      return index.bytes;
    },
    async close() {
      closed = true;
      index.clear();
      values.clear();
    },
  };
}
