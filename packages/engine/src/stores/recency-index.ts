/** What a bounded store holds: the size of every record, in order of use, with the total. */

/** Sizes by key, least recently used first. */
export interface RecencyIndex {
  /** Sum of the sizes, in bytes. */
  readonly bytes: number;
  size(key: string): number | undefined;
  /** Adds or replaces a record and makes it the newest. */
  set(key: string, size: number): void;
  /** Makes a record the newest; nothing happens when there is none. */
  touch(key: string): void;
  delete(key: string): void;
  /** Takes out the least recently used records until at most `limit` bytes remain; returns them, oldest first. */
  evict(limit: number): { readonly key: string; readonly size: number }[];
  /** Keys that begin with `prefix`, least recently used first. */
  keys(prefix: string): string[];
  clear(): void;
}

/** An empty index. A Map keeps the order of insertion, so the order of use costs nothing more. */
export function createRecencyIndex(): RecencyIndex {
  const sizes = new Map<string, number>();
  let bytes = 0;
  const remove = (key: string) => {
    bytes -= sizes.get(key) ?? 0;
    sizes.delete(key);
  };
  return {
    get bytes() {
      return bytes;
    },
    size: (key) => sizes.get(key),
    set(key, size) {
      remove(key);
      sizes.set(key, size);
      bytes += size;
    },
    touch(key) {
      const size = sizes.get(key);
      if (size === undefined) return;
      sizes.delete(key);
      sizes.set(key, size);
    },
    delete: remove,
    evict(limit) {
      const evicted: { key: string; size: number }[] = [];
      for (const [key, size] of sizes) {
        if (bytes <= limit) break;
        remove(key);
        evicted.push({ key, size });
      }
      return evicted;
    },
    keys: (prefix) => [...sizes.keys()].filter((key) => key.startsWith(prefix)),
    clear() {
      sizes.clear();
      bytes = 0;
    },
  };
}
