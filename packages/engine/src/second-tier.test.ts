import { beforeAll, describe, expect, it } from "vitest";

import { createServingEngine } from "./create-serving-engine.js";
import type { EngineEvent } from "./engine-event.js";
import { mapStore } from "./fixtures/map-store.js";
import { collect, content, runAll, sampled, useTiny } from "./fixtures/tiny.js";
import type { Result } from "./fixtures/tiny.js";
import type { GenerationRequest } from "./generation.js";
import type { ServingEngine, ServingEngineOptions } from "./serving-engine.js";

const tiny = useTiny();
let requests: GenerationRequest[];
let expected: unknown[];

beforeAll(async () => {
  requests = Array.from({ length: 3 }, (_, index) => sampled([...tiny.text(0, 260), ...tiny.text(300 + 40 * index, 30)], index, { maxTokens: 12 }));
  expected = (await run({ prefixReuse: false }, (engine) => runAll(engine, requests))).map(content);
});

async function run<T>(options: Partial<ServingEngineOptions>, use: (engine: ServingEngine) => Promise<T>): Promise<T> {
  await using engine = createServingEngine({ model: tiny.model, artifact: tiny.artifact, cacheBytes: 64 << 20, snapshotTokens: 128, ...options });
  return await use(engine);
}

/** What a process leaves behind that ran the requests and was killed once all was written. */
async function leftBehind(): Promise<Map<string, Uint8Array>> {
  const store = mapStore();
  await run({ store }, async (engine) => {
    await runAll(engine, requests);
    await engine.drain();
    expect(engine.stats().store).toMatchObject({ id: "map", hits: 0, damaged: 0, failed: 0, dropped: 0, written: store.records.size });
  });
  return store.records;
}

describe("the second tier", () => {
  it("gives a new engine the prefixes of an earlier one, with the same text and log-probabilities", async () => {
    const records = await leftBehind();
    await run({ store: mapStore(records) }, async (engine) => {
      const results = await runAll(engine, requests);
      expect(results.map(content)).toEqual(expected);
      expect(Math.min(...results.map(({ cachedTokens }) => cachedTokens))).toBeGreaterThanOrEqual(257);
      expect(engine.stats().store).toMatchObject({ damaged: 0, failed: 0 });
      expect(engine.stats().store!.hits).toBeGreaterThan(0);
    });
  });

  it("gives back what was evicted, and stays within its budget", async () => {
    const store = mapStore();
    const others = Array.from({ length: 6 }, (_, index) => sampled(tiny.text(1000 + 300 * index, 290), 50 + index, { maxTokens: 12 }));
    const needed = await run({ cacheBytes: 1 }, (engine) => {
      expect(() => engine.submit(requests[0]!)).toThrow(/which take/);
      try {
        engine.submit(requests[0]!);
      } catch (error) {
        return Promise.resolve(Number(/which take (\d+)/.exec((error as Error).message)![1]));
      }
      return Promise.resolve(0);
    });
    await run({ store, cacheBytes: 2 * needed, maxSequences: 1 }, async (engine) => {
      await collect(engine.submit(requests[0]!));
      for (const other of others) {
        await collect(engine.submit(other));
        expect(engine.stats().cacheBytes).toBeLessThanOrEqual(engine.stats().cacheLimit);
      }
      const again = await collect(engine.submit(requests[0]!));
      expect(content(again)).toEqual(expected[0]);
      expect(again.cachedTokens).toBeGreaterThanOrEqual(129);
      expect(engine.stats().store!.hits).toBeGreaterThan(0);
      expect(engine.stats().evictions).toBeGreaterThan(0);
    });
  });

  it("uses no record that was changed, cut, or put under another key, and computes again", async () => {
    const whole = await leftBehind();
    const damages: Record<string, (value: Uint8Array, others: Uint8Array[]) => Uint8Array> = {
      "a bit of the header": (value) => flip(value, 9),
      "the key": (value) => flip(value, 20),
      "the checksum": (value) => flip(value, 60),
      "the payload": (value) => (value.length > 80 ? flip(value, 80 + ((value.length - 80) >> 1)) : flip(value, 79)),
      "the last byte": (value) => flip(value, value.length - 1),
      "a lost end": (value) => value.slice(0, value.length - 1),
      "nothing left": () => new Uint8Array(0),
      "the record of another key": (_, others) => others[0]!,
    };
    for (const [name, damage] of Object.entries(damages)) {
      for (const kind of ["page/", "point/", "mark/"]) {
        const records = new Map(whole);
        const keys = [...whole.keys()].filter((key) => key.startsWith(kind));
        for (const [index, key] of keys.entries()) records.set(key, damage(whole.get(key)!, [whole.get(keys[(index + 1) % keys.length]!)!]));
        const events: EngineEvent[] = [];
        await run({ store: mapStore(records), onEvent: (event) => events.push(event) }, async (engine) => {
          const result = await collect(engine.submit(requests[0]!));
          expect(content(result), `${name} of every ${kind}`).toEqual(expected[0]);
          expect(result.cachedTokens, `${name} of every ${kind}`).toBe(0);
          expect(engine.stats().store!.damaged).toBeGreaterThan(0);
          expect(events.filter(({ type }) => type === "damaged")).toHaveLength(engine.stats().store!.damaged);
          // What was damaged is written anew.
          await engine.drain();
        });
        await run({ store: mapStore(records) }, async (engine) => {
          expect((await collect(engine.submit(requests[0]!))).cachedTokens, `${name} of every ${kind}, again`).toBeGreaterThan(0);
        });
      }
    }
  });

  it("takes nothing from another artifact, model or rule", async () => {
    const records = await leftBehind();
    await run({ store: mapStore(records), tailTokens: 128 }, async (engine) => {
      expect((await collect(engine.submit(requests[0]!))).cachedTokens).toBe(0);
      expect(engine.stats().store).toMatchObject({ hits: 0, damaged: 0 });
    });
  });

  it("goes on when the store fails, and tells", async () => {
    const broken = { ...mapStore(), get: () => Promise.reject(new Error("no disk")), put: () => Promise.reject(new Error("no disk")) };
    await run({ store: broken }, async (engine) => {
      expect((await runAll(engine, requests)).map(content)).toEqual(expected);
      await engine.drain();
      expect(engine.stats().store!.failed).toBeGreaterThan(0);
    });
  });

  it("says that fp16 caches stay in memory", async () => {
    const store = mapStore();
    await run({ store, artifact: "fp16" }, async (engine) => {
      await runAll(engine, requests);
      await engine.drain();
      expect(store.records.size).toBe(0);
      expect(engine.stats().memoryOnly).toMatch(/fp16/);
    });
  });
});

describe("sessions", () => {
  /** Two turns under a session id; the second one's prompt begins with what the first left. */
  async function talk(first: ServingEngine, second: ServingEngine): Promise<Result[]> {
    const opening = { ...requests[0]!, session: "talk 1".replace(" ", "-"), maxTokens: 100 };
    const one = await collect(first.submit(opening));
    await settle(first);
    const prompt = [...(opening.prompt as number[]), ...one.tokens, ...tiny.text(500, 20)];
    return [one, await collect(second.submit({ ...opening, prompt, seed: 9 }))];
  }
  async function settle(engine: ServingEngine): Promise<void> {
    while ((await engine.listSessions())[0]?.stored !== (engine.stats().store === undefined ? "memory" : "store")) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  it("go on where they were, in memory, and through the store after a restart, with the same text", async () => {
    const [, inMemory] = await run({}, (engine) => talk(engine, engine));
    expect(inMemory!.cachedTokens).toBe(290 + 99);
    const store = mapStore();
    const [, restored] = await run({ store }, (first) => run({ store: mapStore(store.records) }, (second) => talk(first, second)));
    expect(restored!.cachedTokens).toBe(290 + 99);
    expect(content(restored!)).toEqual(content(inMemory!));
  });

  it("are saved from tokens alone, listed and deleted", async () => {
    const store = mapStore();
    const tokens = tiny.text(0, 200);
    await run({ store }, async (engine) => {
      const info = await engine.saveSession("a", tokens);
      expect(info).toMatchObject({ id: "a", tokens: 200, stored: "store" });
      expect(await engine.listSessions()).toEqual([info]);
      expect(engine.stats().sessions).toBe(1);
    });
    await run({ store: mapStore(store.records) }, async (engine) => {
      expect(await engine.listSessions()).toMatchObject([{ id: "a", tokens: 200, stored: "store" }]);
      expect((await collect(engine.submit({ ...sampled([...tokens, ...tiny.text(700, 10)], 3), session: "a" }))).cachedTokens).toBe(200);
      expect(await engine.deleteSession("a")).toBe(true);
      expect(await engine.deleteSession("a")).toBe(false);
      expect(await engine.listSessions()).toEqual([]);
    });
  });

  it.each([["without a store", undefined], ["with one that takes nothing", { ...mapStore(), put: () => Promise.reject(new Error("no disk")) }]])("that are pinned in memory may take half of it, %s", async (_, store) => {
    await run({ cacheBytes: 3 << 20, store }, async (engine) => {
      const saved: unknown[] = [];
      const failure = await (async () => {
        for (let index = 0; index < 50; index++) saved.push(await engine.saveSession(`s${index}`, tiny.text(100 * index, 150)));
        return undefined;
      })().catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: "OUT_OF_CAPACITY" });
      expect(saved.length).toBeGreaterThan(0);
      expect(engine.stats().sessions).toBe(saved.length);
      await engine.deleteSession("s0");
      await engine.saveSession("late", tiny.text(0, 150));
      // Requests that keep nothing have the other half.
      expect((await collect(engine.submit({ ...requests[0]!, maxTokens: 4 }))).tokens).toHaveLength(4);
    });
  });
});

function flip(value: Uint8Array, place: number): Uint8Array {
  const copy = value.slice();
  copy[place]! ^= 4;
  return copy;
}
