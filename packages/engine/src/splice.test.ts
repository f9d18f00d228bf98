import { describe, expect, it } from "vitest";

import { createServingEngine } from "./create-serving-engine.js";
import { collect, content, sampled, useTiny } from "./fixtures/tiny.js";
import type { GenerationPart } from "./generation.js";
import { measureSplice } from "./measure-splice.js";
import type { ServingEngine, ServingEngineOptions } from "./serving-engine.js";

const tiny = useTiny();

const makeEngine = (options: Partial<ServingEngineOptions> = {}): ServingEngine => createServingEngine({ model: tiny.model, artifact: tiny.artifact, cacheBytes: 64 << 20, ...options });

describe("splice", () => {
  it("takes the document's closed pages, computes the rest, and leaves nothing behind that others would take for exact", async () => {
    await using engine = makeEngine();
    const document = tiny.text(1000, 400);
    const prefix = tiny.text(0, 90);
    const prompt = [...prefix, ...document, ...tiny.text(600, 20)];
    const plain = await collect(engine.submit(sampled(prompt, 1, { prefixReuse: false })));
    // Not cached yet: all is computed.
    expect(content(await collect(engine.submit({ ...sampled(prompt, 1, { prefixReuse: false }), splice: { document, at: 90 } })))).toEqual(content(plain));
    await collect(engine.submit(sampled([...document, ...tiny.text(700, 30)], 2)));
    const before = engine.stats().resumePoints;
    const parts: GenerationPart[] = [];
    for await (const part of engine.submit({ ...sampled(prompt, 1), splice: { document, at: 90 } })) parts.push(part);
    const finish = parts.at(-1)!;
    // The last resume point of the document ends at 385 or 449 tokens, of which the newest page is exact.
    expect(finish.type === "finish" && finish.usage.splicedTokens).toBe(320);
    expect(finish.type === "finish" && finish.usage.cachedTokens).toBe(0);
    expect(engine.stats().resumePoints).toBe(before);
    const again = await collect(engine.submit(sampled(prompt, 1)));
    expect(content(again)).toEqual(content(plain));
  });

  it("changes predictions less than leaving the document out", async () => {
    const document = tiny.text(1000, 300);
    const effect = await measureSplice({ model: tiny.model, artifact: tiny.artifact, prefix: tiny.text(0, 100), document, question: tiny.text(1300, 40) });
    expect(effect).toMatchObject({ positions: 40 });
    expect(effect.splicedTokens).toBe(256);
    expect(effect.splice.kldMean).toBeGreaterThan(0);
    expect(effect.splice.kldMean).toBeLessThan(effect.withoutDocument.kldMean);
  });

  it("is refused where the document does not stand in the prompt, and by caches that take no pages", async () => {
    await using engine = makeEngine();
    const prompt = tiny.text(0, 300);
    expect(() => engine.submit({ ...sampled(prompt, 1), splice: { document: tiny.text(51, 200), at: 50 } })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    for (const options of [{ artifact: "fp16" as const }, { attention: "tiles" as const }]) {
      await using other = makeEngine(options);
      expect(() => other.submit({ ...sampled(prompt, 1), splice: { document: tiny.text(50, 200), at: 50 } })).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
    }
  });
});
