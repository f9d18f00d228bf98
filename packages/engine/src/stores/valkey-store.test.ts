import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findFreePort, hasRedisServer, startRedisServer } from "./fixtures/redis-server.js";
import type { TestServer } from "./fixtures/redis-server.js";
import { connectValkeyStore } from "./valkey-store.js";
import type { PageStore } from "../page-store.js";

const bytes = (length: number, value = 1) => new Uint8Array(length).fill(value);
const quick = { connectMilliseconds: 500, commandMilliseconds: 300 };

/** Tries until the store answers again. */
async function waitForStore(store: PageStore): Promise<void> {
  while (await store.get("probe").then(() => false, () => true)) await sleep(20);
}

describe("connectValkeyStore without a server", () => {
  it("refuses a server that is not there, naming it without its password", async () => {
    const port = await findFreePort();
    const error = await connectValkeyStore({ url: `redis://user:secret@127.0.0.1:${port}`, ...quick }).catch((reason: Error) => reason);
    expect(error).toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining(`127.0.0.1:${port}`) });
    expect((error as Error).message).toContain("ECONNREFUSED");
    expect((error as Error).message).not.toContain("secret");
  });

  it("gives up on a server that takes the connection and never answers", async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => void silent.listen(0, "127.0.0.1", resolve));
    await expect(connectValkeyStore({ url: `redis://127.0.0.1:${(silent.address() as AddressInfo).port}`, ...quick })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    silent.close();
  });

  it.each([
    ["bytes that are no answer", "\u0000\u0001HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["an answer of another type", "*1\r\n:5\r\n"],
    ["an answer cut off", "$1000\r\nabc"],
    ["a length beyond all", "$99999999999999\r\n"],
  ])("gets no record out of a server that sends %s", async (_what, garbage) => {
    // Answers the greeting as a server does, and any command after it with garbage; then hangs up.
    const sockets: Socket[] = [];
    const liar = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.on("data", (data) => {
        const asked = data.toString("latin1").toLowerCase();
        if (asked.includes("getex")) socket.write(garbage, () => void setTimeout(() => socket.destroy(), 50));
        else socket.write(asked.includes("info") ? "$17\r\nredis_version:7\r\n\r\n" : "+OK\r\n");
      });
    });
    await new Promise<void>((resolve) => void liar.listen(0, "127.0.0.1", resolve));
    const store = await connectValkeyStore({ url: `redis://127.0.0.1:${(liar.address() as AddressInfo).port}`, ...quick });
    const outcome = await store.get("a").then((value) => value, (error: unknown) => error);
    // Garbage that happens to be an answer is one: the engine checks what records hold.
    if (!(outcome instanceof Uint8Array)) expect(outcome).toMatchObject({ name: "KvquantError", code: expect.stringMatching(/^(UNAVAILABLE|IO_ERROR)$/) as string });
    await store.close();
    for (const socket of sockets) socket.destroy();
    liar.close();
  });

  it("fails every operation at once when it may start without the server", async () => {
    const store = await connectValkeyStore({ url: `redis://127.0.0.1:${await findFreePort()}`, requireConnection: false });
    const calls = [() => store.get("a"), () => store.put("a", bytes(1)), () => store.delete("a"), async () => store.keys("")[Symbol.asyncIterator]().next()];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await store.close();
  });

  it("checks its options, and does not repeat a URL, which may hold a password", async () => {
    for (const url of ["http://127.0.0.1", "", "redis://[", "secret@host", undefined as never]) await expect(connectValkeyStore({ url })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.not.stringContaining("secret") });
    const url = "redis://127.0.0.1:1";
    for (const wrong of [{ ttlSeconds: 0 }, { ttlSeconds: 1.5 }, { connectMilliseconds: 0 }, { commandMilliseconds: -1 }, { maxPendingBytes: 0 }, { prefix: "x".repeat(257) }]) {
      await expect(connectValkeyStore({ url, ...wrong })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
  });
});

describe.skipIf(!hasRedisServer)("connectValkeyStore", () => {
  let server: TestServer;
  let second: TestServer;
  beforeAll(async () => {
    server = await startRedisServer();
    second = await startRedisServer(["--maxmemory", "3mb", "--requirepass", "secret"]);
  });
  afterAll(async () => {
    await server.kill();
    await second.kill();
  });

  it("shares records between processes that use the same prefix, and no others", async () => {
    const [one, other, stranger] = await Promise.all(["shared:", "shared:", "own:"].map((prefix) => connectValkeyStore({ url: server.url.replace("redis:", "valkey:"), prefix })));
    await one!.put("page/1", bytes(100_000, 3));
    expect(await other!.get("page/1")).toEqual(bytes(100_000, 3));
    expect(await stranger!.get("page/1")).toBeUndefined();
    await Promise.all([one!, other!, stranger!].map((store) => store.close()));
  });

  it("lets records expire, unless they are read", async () => {
    const store = await connectValkeyStore({ url: server.url, prefix: "ttl:", ttlSeconds: 2 });
    await store.put("read", bytes(1));
    await store.put("unread", bytes(1));
    for (let round = 0; round < 6; round++) {
      await sleep(500);
      expect(await store.get("read")).toBeDefined();
    }
    expect(await store.get("unread")).toBeUndefined();
    await store.close();
  });

  it("fails at once while the server is down and works again when it is back", async () => {
    const own = await startRedisServer();
    const store = await connectValkeyStore({ url: own.url, ...quick });
    await store.put("a", bytes(10));
    await own.kill();
    for (let call = 0; call < 200; call++) await expect(store.get("a")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await own.start();
    await waitForStore(store);
    expect(await store.get("a")).toBeUndefined(); // this server keeps nothing over a restart
    await store.put("a", bytes(20));
    expect(await store.get("a")).toEqual(bytes(20));
    await store.close();
    await own.kill();
  });

  it("pays one time-out for a server that hangs, not one for each record, and works again when it goes on", async () => {
    const own = await startRedisServer();
    const store = await connectValkeyStore({ url: own.url, ...quick });
    await store.put("a", bytes(10));
    own.signal("SIGSTOP");
    await expect(store.get("a")).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("300 ms") });
    // A time-out for each of these would be two minutes, the test's own limit.
    for (let call = 0; call < 400; call++) await expect(store.get("a")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    own.signal("SIGCONT");
    await waitForStore(store);
    expect(await store.get("a")).toEqual(bytes(10));
    await store.close();
    await own.kill();
  });

  it("reports a wrong password, and a server that is full", async () => {
    await expect(connectValkeyStore({ url: second.url.replace("//", "//:wrong@"), ...quick })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(connectValkeyStore({ url: second.url, ...quick })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const store = await connectValkeyStore({ url: second.url.replace("//", "//:secret@"), ...quick });
    const fill = async () => {
      for (let index = 0; index < 40; index++) await store.put(`page/${index}`, bytes(200_000));
    };
    await expect(fill()).rejects.toMatchObject({ code: "OUT_OF_CAPACITY", message: expect.stringContaining("maxmemory-policy") });
    expect(await store.get("page/0")).toEqual(bytes(200_000));
    await store.close();
  });

  it("bounds the bytes that wait for the server", async () => {
    const store = await connectValkeyStore({ url: server.url, prefix: "pending:", maxPendingBytes: 1_000_000 });
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, (_, index) => store.put(`page/${index}`, bytes(300_000))));
    expect(outcomes.map((outcome) => outcome.status)).toEqual([...Array(3).fill("fulfilled"), ...Array(7).fill("rejected")]);
    expect(outcomes[9]).toMatchObject({ reason: { code: "UNAVAILABLE" } });
    await expect(store.put("large", bytes(1_000_001))).rejects.toMatchObject({ code: "OUT_OF_CAPACITY" });
    await store.put("page/9", bytes(300_000));
    await store.close();
  });
});
