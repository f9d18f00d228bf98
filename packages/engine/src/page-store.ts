/** The second tier of the engine's memory: where compressed pages go when memory is short, and come back from. */

/**
 * A key-value store for records. Values are opaque; the engine checks every one it reads and deletes what is damaged, so a store may lose
 * or return anything without harm. All methods may be called concurrently. Keys are ASCII without spaces, at most 120 characters.
 */
export interface PageStore {
  /** Names the kind of store in figures, such as `lmdb`. */
  readonly id: string;
  /** The record of a key; undefined when there is none. The bytes are the caller's. @throws IO_ERROR */
  get(key: string): Promise<Uint8Array | undefined>;
  /** Writes a record, or replaces it; it is there for `get` once the promise resolves. @throws IO_ERROR */
  put(key: string, value: Uint8Array): Promise<void>;
  /** Removes a record; nothing happens where there is none. @throws IO_ERROR */
  delete(key: string): Promise<void>;
  /** Keys that start with `prefix`, in any order. @throws IO_ERROR */
  keys(prefix: string): AsyncIterable<string>;
  /** Bytes the records take, where the store can tell. */
  bytes(): Promise<number | undefined>;
  close(): Promise<void>;
}
