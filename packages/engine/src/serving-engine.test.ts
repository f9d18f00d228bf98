import { beforeAll, describe, expect, it } from "vitest";

import { createServingEngine } from "./create-serving-engine.js";
import type { EngineEvent } from "./engine-event.js";
import { collect, content, runAll, sampled, useTiny } from "./fixtures/tiny.js";
import type { Result } from "./fixtures/tiny.js";
import type { GenerationRequest } from "./generation.js";
import type { ServingEngine, ServingEngineOptions } from "./serving-engine.js";

const tiny = useTiny();
/** Eight requests: a shared beginning of 250 tokens, questions of their own, different seeds. */
let requests: GenerationRequest[];

beforeAll(async () => {
  const shared = tiny.text(0, 250);
  requests = Array.from({ length: 8 }, (_, index) => sampled([...shared, ...tiny.text(300 + 40 * index, 20 + 9 * index)], 100 + index));
});

const kinds: readonly ["kvq3" | "fp16" | "kvq3 on tiles", Partial<ServingEngineOptions>][] = [
  ["kvq3", {}],
  ["fp16", { artifact: "fp16" }],
  ["kvq3 on tiles", { attention: "tiles" }],
];

function makeEngine(options: Partial<ServingEngineOptions> = {}): ServingEngine {
  return createServingEngine({ model: tiny.model, artifact: tiny.artifact, cacheBytes: 64 << 20, ...options });
}

async function withEngine<T>(options: Partial<ServingEngineOptions>, use: (engine: ServingEngine) => Promise<T>): Promise<T> {
  await using engine = makeEngine(options);
  return await use(engine);
}

/** Each request in an engine of its own, without reuse: what every other way must give. */
async function alone(options: Partial<ServingEngineOptions>, list: readonly GenerationRequest[]): Promise<Result[]> {
  const results: Result[] = [];
  for (const request of list) results.push(await withEngine({ ...options, prefixReuse: false }, (engine) => collect(engine.submit(request))));
  return results;
}

describe.each(kinds)("with a cache of %s", (_name, kind) => {
  let expected: unknown[];
  beforeAll(async () => {
    expected = (await alone(kind, requests)).map(content);
  });

  it("gives a request the same tokens and log-probabilities alone and in a batch of 8", async () => {
    await withEngine({ ...kind, prefixReuse: false }, async (engine) => {
      expect((await runAll(engine, requests)).map(content)).toEqual(expected);
      expect(engine.stats()).toMatchObject({ path: kind.attention === "tiles" ? "sequential" : "batched", cachedTokens: 0, resumePoints: 0, running: 0, finished: 8 });
    });
  });

  it("gives the same with prefixes shared in flight and again from resume points", async () => {
    await withEngine({ ...kind, stepTokens: 96, snapshotTokens: 128 }, async (engine) => {
      const first = await runAll(engine, requests);
      expect(first.map(content)).toEqual(expected);
      // One computed the shared pages, seven started where they end.
      const pageEnd = kind.artifact === "fp16" ? 192 : 193;
      expect(first.map(({ cachedTokens }) => cachedTokens).sort((a, b) => a - b).slice(0, 2)).toEqual([0, pageEnd]);
      expect(first.filter(({ cachedTokens }) => cachedTokens >= pageEnd)).toHaveLength(7);
      const again = await runAll(engine, requests);
      expect(again.map(content)).toEqual(expected);
      for (const { cachedTokens } of again) expect(cachedTokens).toBeGreaterThanOrEqual(pageEnd);
    });
  });

  it("gives the same after preemptions and evictions in a budget for about two sequences", async () => {
    const events: EngineEvent[] = [];
    // Prompts of two fit, their texts do not: compressed ones grow slowly. Tiles are slow, so three requests must do.
    const isNative = kind.attention !== "tiles";
    const long = requests.slice(isNative ? 4 : 5).map((request) => ({ ...request, maxTokens: isNative && kind.artifact === undefined ? 600 : 300 }));
    const wanted = (await alone(kind, long)).map(content);
    const needed = await neededBytes(kind, long.at(-1)!);
    using empty = tiny.model.createCache({ artifact: tiny.artifact, ...kind });
    await withEngine({ ...kind, cacheBytes: empty.bytes().tables + Math.ceil(needed * 1.8), stepTokens: 64, maxSequences: 8, onEvent: (event) => events.push(event) }, async (engine) => {
      expect((await runAll(engine, long)).map(content)).toEqual(wanted);
      const stats = engine.stats();
      expect(stats.preemptions).toBeGreaterThan(0);
      expect(stats.evictions).toBeGreaterThan(0);
      expect(stats.cacheBytes).toBeLessThanOrEqual(stats.cacheLimit);
    });
  });
});

/** Bytes that the engine says a request takes when it refuses it. */
async function neededBytes(kind: Partial<ServingEngineOptions>, request: GenerationRequest): Promise<number> {
  return withEngine({ ...kind, cacheBytes: 1 }, (engine) => {
    try {
      engine.submit(request);
    } catch (error) {
      return Promise.resolve(Number(/which take (\d+)/.exec((error as Error).message)![1]));
    }
    throw new Error("a request fits one byte");
  });
}

describe("cancelling", () => {
  it("lets the others go on, whatever the cancelled one was doing, and frees what it held", async () => {
    const expected = content((await alone({}, [requests[0]!]))[0]!);
    await withEngine({ stepTokens: 32, maxSequences: 2 }, async (engine) => {
      const kept = collect(engine.submit(requests[0]!));
      const controller = new AbortController();
      const decoding = engine.submit({ ...requests[1]!, maxTokens: 1000 });
      const waiting = collect(engine.submit({ ...requests[2]!, signal: controller.signal })).catch((error: unknown) => error);
      const prefilling = collect(engine.submit({ ...requests[3]!, signal: controller.signal })).catch((error: unknown) => error);
      controller.abort();
      for await (const part of decoding) if (part.type === "token" && part.index === 3) break;
      expect(await waiting).toMatchObject({ code: "CANCELLED" });
      expect(await prefilling).toMatchObject({ code: "CANCELLED" });
      expect(content(await kept)).toEqual(expected);
      await engine.drain();
      expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, sequenceBytes: 0, cancelled: 3, finished: 1, failed: 0 });
    });
  });

  it("takes a signal that fired before, and ends what runs on dispose", async () => {
    const engine = makeEngine();
    await expect(collect(engine.submit({ ...requests[0]!, signal: AbortSignal.abort() }))).rejects.toMatchObject({ code: "CANCELLED" });
    const running = collect(engine.submit({ ...requests[0]!, maxTokens: 1000 }));
    const outcome = expect(running).rejects.toMatchObject({ code: "CANCELLED" });
    await engine.dispose();
    await outcome;
    expect(() => engine.submit(requests[0]!)).toThrow(expect.objectContaining({ code: "DISPOSED" }));
    await engine.dispose();
  });
});

describe("requests", () => {
  it("end with stop strings, stop tokens and the limit, with the text that fits", async () => {
    await withEngine({}, async (engine) => {
      const whole = await collect(engine.submit({ ...requests[0]!, maxTokens: 40 }));
      expect(whole.reason).toBe("length");
      expect(whole.tokens).toHaveLength(40);
      const stop = whole.text.slice(20, 26);
      const stopped = await collect(engine.submit({ ...requests[0]!, maxTokens: 40, stop: [stop] }));
      expect(stopped).toMatchObject({ reason: "stop", text: whole.text.slice(0, whole.text.indexOf(stop)) });
      const ended = await collect(engine.submit({ ...requests[0]!, maxTokens: 40, stopTokens: [whole.tokens[9]!] }));
      expect(ended.reason).toBe("end");
      expect(ended.tokens).toEqual(whole.tokens.slice(0, whole.tokens.indexOf(whole.tokens[9]!) + 1));
    });
  });

  it("are refused with the numbers when they can never fit, when the queue is full and while draining", async () => {
    await withEngine({ cacheBytes: 1 << 20, maxWaiting: 2, maxSequences: 1 }, async (engine) => {
      expect(() => engine.submit({ ...requests[0]!, maxTokens: 1700 })).toThrow(expect.objectContaining({ code: "OUT_OF_CAPACITY", message: expect.stringMatching(/1048576 bytes.*1700 new tokens/) as unknown }));
      expect(engine.stats().waiting).toBe(0);
    });
    await withEngine({ maxWaiting: 2, maxSequences: 1 }, async (engine) => {
      const two = [engine.submit(requests[0]!), engine.submit(requests[1]!)].map(collect);
      expect(() => engine.submit(requests[2]!)).toThrow(expect.objectContaining({ code: "OUT_OF_CAPACITY" }));
      const drained = engine.drain();
      expect(() => engine.submit(requests[2]!)).toThrow(expect.objectContaining({ code: "OUT_OF_CAPACITY" }));
      await expect(engine.saveSession("late", requests[2]!.prompt)).rejects.toMatchObject({ code: "OUT_OF_CAPACITY", message: expect.stringContaining("draining") as unknown });
      await drained;
      expect((await Promise.all(two)).map(({ reason }) => reason)).toEqual(["length", "length"]);
    });
  });

  it("may fill the model's context, and go no further than its angles reach", async () => {
    await withEngine({ cacheBytes: 1 << 26 }, async (engine) => {
      const prompt = new Int32Array(2040).fill(5);
      expect((await collect(engine.submit({ prompt, maxTokens: 9, stopAtEnd: false }))).tokens).toHaveLength(9);
      expect(() => engine.submit({ prompt, maxTokens: 10 })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("at most 2048 tokens") as unknown }));
    });
  });

  it.each([{ prompt: [] }, { prompt: [1e9] }, { prompt: [0.5] }, { maxTokens: 0 }, { logprobs: 21 }, { stopTokens: [-1] }, { sampling: { topP: 2 } }, { sampling: { logitBias: new Map([[1e9, 1]]) } }, { session: "two words" }])("are refused when they make no sense: %j", async (wrong) => {
    await withEngine({}, (engine) => {
      expect(() => engine.submit({ ...requests[0]!, ...wrong })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
      return Promise.resolve();
    });
  });
});
