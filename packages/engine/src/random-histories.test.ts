import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";

import { createServingEngine } from "./create-serving-engine.js";
import { mapStore } from "./fixtures/map-store.js";
import { collect, content, sampled, useTiny } from "./fixtures/tiny.js";
import type { GenerationRequest } from "./generation.js";

const tiny = useTiny();
let requests: GenerationRequest[];
let expected: unknown[];

beforeAll(async () => {
  // A tree of prefixes: two beginnings, and ends that part at different places.
  requests = Array.from({ length: 6 }, (_, index) => sampled([...tiny.text(index % 2 === 0 ? 0 : 900, 100 + 30 * index), ...tiny.text(2000 + 100 * index, 15 + index)], index, { maxTokens: 10 + 12 * index }));
  expected = [];
  for (const request of requests) {
    await using engine = createServingEngine({ model: tiny.model, artifact: tiny.artifact, cacheBytes: 64 << 20, prefixReuse: false });
    expected.push(content(await collect(engine.submit(request))));
  }
});

const action = fc.oneof(
  { weight: 5, arbitrary: fc.record({ type: fc.constant("submit" as const), which: fc.nat(5), reuse: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("cancel" as const), which: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("wait" as const), steps: fc.integer({ min: 1, max: 8 }) }) },
);

describe("random histories of submitting and cancelling", () => {
  it("keep the budget at every step, give every finished request its text, and leave nothing behind", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 3, maxLength: 14 }), fc.integer({ min: 700, max: 4000 }), fc.boolean(), async (history, kibibytes, stored) => {
        let over = 0;
        await using engine = createServingEngine({
          model: tiny.model,
          artifact: tiny.artifact,
          cacheBytes: kibibytes * 1024,
          stepTokens: 48,
          maxSequences: 4,
          snapshotTokens: 64,
          ...(stored ? { store: mapStore() } : {}),
          onEvent: ({ type }) => {
            if (type === "step" && engine.stats().cacheBytes > engine.stats().cacheLimit) over++;
          },
        });
        const controllers: AbortController[] = [];
        const results: Promise<void>[] = [];
        for (const entry of history) {
          if (entry.type === "wait") for (let turn = 0; turn < entry.steps; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
          else if (entry.type === "cancel") controllers[entry.which % Math.max(1, controllers.length)]?.abort();
          else {
            const controller = new AbortController();
            controllers.push(controller);
            try {
              const generation = engine.submit({ ...requests[entry.which]!, prefixReuse: entry.reuse, signal: controller.signal });
              results.push(
                collect(generation).then(
                  (result) => expect(content(result)).toEqual(expected[entry.which]),
                  (error: unknown) => expect(error).toMatchObject({ code: "CANCELLED" }),
                ),
              );
            } catch (error) {
              expect(error).toMatchObject({ code: "OUT_OF_CAPACITY" });
            }
          }
        }
        await Promise.all(results);
        await engine.drain();
        expect(over).toBe(0);
        const stats = engine.stats();
        expect(stats).toMatchObject({ running: 0, waiting: 0, sequenceBytes: 0, failed: 0 });
        expect(stats.finished + stats.cancelled).toBe(controllers.length - (history.filter(({ type }) => type === "submit").length - results.length));
      }),
      { numRuns: 25 },
    );
  });
});
