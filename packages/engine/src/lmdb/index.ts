/** The page store on disk; an entry point of its own, so that LMDB loads only where it is used. */

export { openLmdbStore } from "../stores/lmdb-store.js";
export type { LmdbStoreOptions } from "../stores/lmdb-store.js";
