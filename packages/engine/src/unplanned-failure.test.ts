import { afterEach, describe, expect, it, vi } from "vitest";

import { createServingEngine } from "./create-serving-engine.js";
import { collect, content, sampled, useTiny } from "./fixtures/tiny.js";

const tiny = useTiny();

afterEach(() => {
  vi.restoreAllMocks();
});

const options = () => ({ model: tiny.model, artifact: tiny.artifact, cacheBytes: 64 << 20, maxSequences: 2 });

describe("what nobody planned for", () => {
  it("in a round ends every request with its error, waiting ones too, and the next one is served", async () => {
    await using engine = createServingEngine(options());
    const defect = new TypeError("a backend's defect");
    const create = tiny.model.createCache.bind(tiny.model);
    const spy = vi.spyOn(tiny.model, "createCache").mockImplementation((given) => {
      const cache = create(given);
      cache.bytes = () => {
        throw defect;
      };
      return cache;
    });
    const requests = [0, 1, 2].map((index) => sampled(tiny.text(300 * index, 70), index, { maxTokens: 4 }));
    const results = await Promise.allSettled(requests.map((request) => collect(engine.submit(request))));
    expect(results).toEqual(requests.map(() => ({ status: "rejected", reason: defect })));
    spy.mockRestore();
    expect((await collect(engine.submit(requests[0]!))).tokens).toHaveLength(4);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, sequenceBytes: 0, failed: 3, finished: 1 });
  });

  it("in a listener is thrown where nobody catches it, and the request gets its text", async () => {
    const request = sampled(tiny.text(0, 70), 1, { maxTokens: 4 });
    await using quiet = createServingEngine(options());
    const expected = content(await collect(quiet.submit(request)));
    const uncaught: unknown[] = [];
    const others = process.rawListeners("uncaughtException") as NodeJS.UncaughtExceptionListener[];
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => uncaught.push(error));
    try {
      await using engine = createServingEngine({
        ...options(),
        onEvent: ({ type }) => {
          if (type === "step" || type === "finished") throw new Error(`listener: ${type}`);
        },
      });
      expect(content(await collect(engine.submit(request)))).toEqual(expected);
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const other of others) process.on("uncaughtException", other);
    }
    const messages = uncaught.map((error) => (error as Error).message);
    expect(messages.filter((message) => message === "listener: finished")).toHaveLength(1);
    expect(messages.filter((message) => message === "listener: step").length).toBeGreaterThanOrEqual(4);
  });
});
