import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLmdbStore } from "@kvquant/engine/lmdb";
import { expect, it } from "vitest";
import { configurationSchema } from "../configuration/schema.js";
import { createLogger } from "../http/logger.js";
import { openStore } from "./open-store.js";

it("a shared store that cannot be reached leaves the folder to others", async () => {
  const path = mkdtempSync(join(tmpdir(), "kvquant-open-store-"));
  try {
    const { store } = configurationSchema.parse({ store: { path, url: "redis://127.0.0.1:1" } });
    const logger = createLogger({ level: "silent", format: "json", write: () => undefined });
    await expect(openStore(store, logger)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const pages = await openLmdbStore({ path, maxBytes: 1 << 20 });
    await pages.close();
  } finally {
    rmSync(path, { recursive: true });
  }
});
