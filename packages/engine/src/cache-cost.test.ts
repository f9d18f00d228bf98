import type { KvCache } from "@kvquant/cache";
import { beforeAll, describe, expect, it } from "vitest";

import { createCacheCost } from "./cache-cost.js";
import type { CacheCost } from "./cache-cost.js";
import { createServingEngine } from "./create-serving-engine.js";
import { collect, sampled, useTiny } from "./fixtures/tiny.js";
import { encodeProbePages } from "./probe-pages.js";

const PAGE = 64;
const TAIL = 64;

describe.each(["kvq3", "nuq3-1%"])("sizes of %s caches", (preset) => {
  const tiny = useTiny(preset);
  let cost: CacheCost;
  beforeAll(async () => {
    const { model, artifact } = tiny;
    cost = createCacheCost({ shape: model.shape, layers: artifact.layers, probe: encodeProbePages(artifact, undefined), sinkTokens: 1, tailTokens: TAIL });
  });
  const fill = async (tokens: number): Promise<KvCache> => {
    const cache = tiny.model.createCache({ artifact: tiny.artifact, tailTokens: TAIL });
    await tiny.model.forward(tiny.text(0, tokens), cache);
    return cache;
  };
  /** Without what all caches of an engine share, and without room allocated ahead. */
  const taken = (cache: KvCache): number => {
    using empty = tiny.model.createCache({ artifact: tiny.artifact, tailTokens: TAIL });
    return cache.bytes(empty).total;
  };

  it("lie between codes alone and a page of noise until pages were seen, and are not called measured", async () => {
    using cache = await fill(700);
    expect(cost.bitsPerValue).toBeUndefined();
    expect(cost.leastPeakBytes(700)).toBeLessThan(taken(cache));
    expect(cost.bytes(700)).toBeGreaterThanOrEqual(taken(cache));
  });

  it("are those of the pages seen from then on, within 10% of what caches take", async () => {
    using seen = await fill(500);
    cost.observe(seen);
    expect(cost.bitsPerValue).toEqual(seen.bitsPerValue());
    expect(cost.leastPeakBytes(900)).toBe(cost.peakBytes(900));
    for (const tokens of [1, PAGE, 2 * PAGE + 1, 300, 700, 900]) {
      using cache = await fill(tokens);
      expect(cost.bytes(tokens) / taken(cache)).toBeGreaterThan(0.95);
      expect(cost.bytes(tokens) / taken(cache)).toBeLessThan(1.1);
      expect(cost.closedPages(tokens)).toBe(cache.bitsPerValue() === undefined ? 0 : Math.round(cache.layer(0).pages().length));
    }
  });

  it("learn nothing from a cache without closed pages", async () => {
    const before = cost.bytes(700);
    using cache = await fill(20);
    cost.observe(cache);
    expect(cost.bytes(700)).toBe(before);
    expect(cost.bitsPerValue).toBeDefined();
  });

  it("are what an engine says after its first pages", async () => {
    await using engine = createServingEngine({ model: tiny.model, artifact: tiny.artifact, cacheBytes: 64 << 20, prefixReuse: false });
    expect(engine.stats().bitsPerValue).toBeUndefined();
    await collect(engine.submit(sampled(tiny.text(0, 400), 1)));
    using cache = await fill(400);
    expect(engine.stats().bitsPerValue!.mean).toBeCloseTo(cache.bitsPerValue()!.mean, 1);
  });
});
