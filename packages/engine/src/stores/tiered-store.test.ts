import { KvquantError } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import { keysOf } from "./fixtures/keys-of.js";
import { memoryStore } from "./memory-store.js";
import { tieredStore } from "./tiered-store.js";
import type { TierFailure } from "./tiered-store.js";
import type { PageStore } from "../page-store.js";

const value = Uint8Array.of(1, 2, 3);

function failing(store: PageStore, operations: readonly (keyof PageStore)[]): PageStore {
  const fail = async () => {
    throw new KvquantError("UNAVAILABLE", "down");
  };
  return { ...store, id: "failing", ...Object.fromEntries(operations.map((operation) => [operation, operation === "keys" ? failingKeys : fail])) };
}

async function* failingKeys(): AsyncGenerator<string> {
  yield "x";
  throw new KvquantError("UNAVAILABLE", "down");
}

describe("tieredStore", () => {
  it("writes to every store, reads the first that has it and fills those before it", async () => {
    const [near, middle, far] = [memoryStore(), memoryStore(), memoryStore()];
    const store = tieredStore([near, middle, far], { onError: ({ error }) => expect.fail(String(error)) });
    await store.put("a", value);
    expect(await Promise.all([near, middle, far].map((one) => one.get("a")))).toEqual([value, value, value]);
    await near.delete("a");
    await middle.delete("a");
    expect(await store.get("a")).toEqual(value);
    expect(await Promise.all([near, middle].map((one) => one.get("a")))).toEqual([value, value]);
    await store.delete("a");
    expect(await far.get("a")).toBeUndefined();
    expect(await store.get("a")).toBeUndefined();
  });

  it("passes over a store that fails, reports it, and does not fill it", async () => {
    const failures: TierFailure[] = [];
    const [broken, far] = [failing(memoryStore(), ["get", "put", "delete", "keys", "bytes"]), memoryStore()];
    const store = tieredStore([broken, far], { onError: (failure) => failures.push(failure) });
    await store.put("a", value);
    expect(await store.get("a")).toEqual(value);
    expect(await store.bytes()).toBe(3);
    expect(await keysOf(store)).toEqual(["a", "x"]);
    await store.delete("a");
    expect(await store.get("a")).toBeUndefined();
    const seen = failures.map(({ operation, key }) => `${operation} ${key ?? ""}`);
    expect(seen).toEqual(["delete a", "put a", "get a", "bytes ", "keys ", "delete a", "get a"]);
    expect(failures.every(({ store: id, error }) => id === "failing" && KvquantError.isInstance(error))).toBe(true);
  });

  it("never answers with an older value from a store that could not take the newer one", async () => {
    const small = memoryStore({ maxBytes: 10 });
    const failures: TierFailure[] = [];
    const store = tieredStore([small, memoryStore()], { onError: (failure) => failures.push(failure) });
    await store.put("a", value);
    await store.put("a", new Uint8Array(11).fill(7));
    expect(await store.get("a")).toEqual(new Uint8Array(11).fill(7));
    expect(await small.get("a")).toBeUndefined();
    expect(failures.map(({ operation, error }) => [operation, (error as KvquantError).code])).toEqual([["put", "OUT_OF_CAPACITY"], ["put", "OUT_OF_CAPACITY"]]);
  });

  it("fails, with the reason, when every store failed", async () => {
    const operations = ["get", "put", "delete", "keys", "bytes"] as const;
    const store = tieredStore([failing(memoryStore(), operations), failing(memoryStore(), operations)], { onError: () => undefined });
    const calls = [() => store.get("a"), () => store.put("a", value), () => store.delete("a"), () => store.bytes(), () => keysOf(store)];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("down; down") });
  });

  it("closes every store, even when one cannot be closed", async () => {
    const far = memoryStore();
    const store = tieredStore([failing(memoryStore(), ["close"]), far], { onError: () => undefined });
    await expect(store.close()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(far.get("a")).rejects.toMatchObject({ code: "DISPOSED" });
  });

  it("wants at least one store and somebody to tell", () => {
    expect(() => tieredStore([], { onError: () => undefined })).toThrow("at least one store");
    expect(() => tieredStore([memoryStore()], undefined as never)).toThrow("onError");
  });
});
