/** The page store in a Valkey or Redis server; an entry point of its own, so that the client loads only where it is used. */

export { connectValkeyStore } from "../stores/valkey-store.js";
export type { ValkeyStoreOptions } from "../stores/valkey-store.js";
