import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasRedisServer, startRedisServer } from "./fixtures/redis-server.js";
import type { TestServer } from "./fixtures/redis-server.js";
import { openLmdbStore } from "./lmdb-store.js";
import { memoryStore } from "./memory-store.js";
import { assertPageStoreLaws, pageStoreLaws } from "./page-store-laws.js";
import { tieredStore } from "./tiered-store.js";
import { connectValkeyStore } from "./valkey-store.js";
import type { PageStore } from "../page-store.js";

const maxBytes = 64 * 2 ** 20;
let folder = "";
let server: TestServer | undefined;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kvquant-stores-"));
  if (hasRedisServer) server = await startRedisServer();
});
afterAll(async () => {
  await server?.kill();
  await rm(folder, { recursive: true, force: true });
});

const openLmdb = () => openLmdbStore({ path: join(folder, String(count++)), maxBytes });
const openValkey = () => connectValkeyStore({ url: server!.url, prefix: `law-${count++}[*]:` });
const onError = ({ error }: { error: unknown }) => {
  throw error;
};
const stores: readonly { name: string; open: () => Promise<PageStore>; needsServer?: boolean }[] = [
  { name: "memory", open: async () => memoryStore({ maxBytes }) },
  { name: "lmdb", open: openLmdb },
  { name: "valkey", open: openValkey, needsServer: true },
  { name: "tiered memory and lmdb", open: async () => tieredStore([memoryStore({ maxBytes }), await openLmdb()], { onError }) },
  { name: "tiered lmdb and valkey", open: async () => tieredStore([await openLmdb(), await openValkey()], { onError }), needsServer: true },
];

for (const { name, open, needsServer } of stores) {
  describe.skipIf(needsServer === true && !hasRedisServer)(`page store: ${name}`, () => {
    for (const law of pageStoreLaws) {
      it(law.title, async () => {
        const store = await open();
        try {
          await law.check(store);
        } finally {
          await store.close();
        }
      });
    }
  });
}

describe("page store laws", () => {
  const wrong: Readonly<Record<string, (store: PageStore) => Partial<PageStore>>> = {
    "hands out its own array": (store) => {
      const values = new Map<string, Uint8Array>();
      return { get: async (key) => values.get(key), put: async (key, value) => (await store.put(key, value), void values.set(key, value)) };
    },
    "drops the last byte": (store) => ({ put: (key, value) => store.put(key, value.subarray(0, Math.max(0, value.length - 1))) }),
    "forgets to delete": () => ({ delete: async () => undefined }),
    "lists all keys": (store) => ({ keys: () => store.keys("") }),
    "counts wrong": () => ({ bytes: async () => 7 }),
    "answers after close": (store) => ({ bytes: async () => (await store.bytes().catch(() => 0)) ?? 0 }),
  };
  for (const [name, change] of Object.entries(wrong)) {
    it(`catch a store that ${name}`, async () => {
      const open = async () => {
        const store = memoryStore();
        return { ...store, ...change(store) };
      };
      await expect(assertPageStoreLaws(open)).rejects.toMatchObject({ code: "CORRUPT_DATA" });
    });
  }

  it("pass a store that keeps them", async () => {
    await assertPageStoreLaws(async () => memoryStore());
  });
});
