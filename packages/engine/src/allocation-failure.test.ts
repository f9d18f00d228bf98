import { backendInfo } from "@kvquant/cpu";
import type { NativeEngine } from "@kvquant/model";
import { afterEach, describe, expect, it, vi } from "vitest";

import { describeAllocation } from "./allocation-failure.js";
import { createServingEngine } from "./create-serving-engine.js";
import { collect, content, sampled, useTiny } from "./fixtures/tiny.js";

const tiny = useTiny();

afterEach(() => {
  vi.restoreAllMocks();
});

const outOfCapacity = { name: "KvquantError", code: "OUT_OF_CAPACITY", message: expect.stringContaining("Array buffer allocation failed") as string };
const noMemory = (): never => {
  throw new RangeError("Array buffer allocation failed");
};

describe("memory that the system does not give", () => {
  it.skipIf(!backendInfo().available)("in a step ends the one sequence that asked for it, and the others get their text", async () => {
    const requests = [0, 1, 2].map((index) => sampled(tiny.text(300 * index, 90), index, { maxTokens: 8 }));
    const options = { model: tiny.model, artifact: tiny.artifact, cacheBytes: 64 << 20 };
    const expected = await (async () => {
      await using engine = createServingEngine(options);
      return await Promise.all(requests.map(async (request) => content(await collect(engine.submit(request)))));
    })();
    const first = requests[1]!.prompt[0];
    const runner = tiny.model.runner as NativeEngine;
    const real = runner.step.bind(runner);
    vi.spyOn(runner, "step").mockImplementation((items, given) => (items.some(({ tokens }) => tokens[0] === first && tokens.length > 1) ? Promise.reject(new RangeError("Array buffer allocation failed")) : real(items, given)));
    await using engine = createServingEngine(options);
    const results = await Promise.allSettled(requests.map((request) => collect(engine.submit(request))));
    expect(results[1]).toMatchObject({ status: "rejected", reason: outOfCapacity });
    const texts = results.map((result) => (result.status === "fulfilled" ? content(result.value) : undefined));
    expect([texts[0], texts[2]]).toEqual([expected[0], expected[2]]);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, failed: 1 });
  });

  it("for a new cache ends that request, and the next one is served", async () => {
    await using engine = createServingEngine({ model: tiny.model, artifact: tiny.artifact, cacheBytes: 64 << 20 });
    const request = sampled(tiny.text(0, 70), 1, { maxTokens: 4 });
    const create = vi.spyOn(tiny.model, "createCache").mockImplementationOnce(noMemory);
    await expect(collect(engine.submit(request))).rejects.toMatchObject(outOfCapacity);
    expect(create).toHaveBeenCalled();
    expect((await collect(engine.submit(request))).tokens).toHaveLength(4);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, failed: 1 });
  });
});

describe("describeAllocation", () => {
  it("leaves other errors as they are", () => {
    for (const error of [new RangeError("Maximum call stack size exceeded"), new Error("Array buffer allocation failed"), "text"]) expect(describeAllocation(error)).toBe(error);
  });
});
