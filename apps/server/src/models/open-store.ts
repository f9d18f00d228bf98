/** Opens the second tier that the configuration names. */

import { tieredStore } from "@kvquant/engine";
import type { PageStore } from "@kvquant/engine";
import type { Configuration } from "../configuration/schema.js";
import { errorFields } from "../http/logger.js";
import type { Logger } from "../http/logger.js";

/** A folder on disk, a shared server, both, or none. The libraries of each are loaded only when used. When one cannot be opened, none is. */
export async function openStore(store: Configuration["store"], logger: Logger): Promise<PageStore | undefined> {
  if (store === undefined) return undefined;
  const tiers: PageStore[] = [];
  if (store.path !== undefined) {
    const { openLmdbStore } = await import("@kvquant/engine/lmdb");
    tiers.push(await openLmdbStore({ path: store.path, maxBytes: store.bytes }));
  }
  if (store.url !== undefined) {
    const { connectValkeyStore } = await import("@kvquant/engine/valkey");
    try {
      tiers.push(await connectValkeyStore({ url: store.url, prefix: store.prefix, ttlSeconds: store.ttlSeconds }));
    } catch (error) {
      // The folder is locked for as long as it is open.
      await tiers[0]?.close();
      throw error;
    }
  }
  if (tiers.length < 2) return tiers[0];
  return tieredStore(tiers, { onError: ({ store: tier, operation, error }) => logger.log("warn", "store-tier-failed", { store: tier, operation, ...errorFields(error) }) });
}
