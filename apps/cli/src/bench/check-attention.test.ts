import { backendInfo, createThreads } from "@kvquant/cpu";
import { describe, expect, it } from "vitest";
import { checkAttention } from "./check-attention.js";
import { createSyntheticCache, fillCache } from "./synthetic-cache.js";
import { fitSyntheticLayer, makeSyntheticStatistics } from "./synthetic-layer.js";
import { makeSyntheticTokens } from "./synthetic-tokens.js";

describe.skipIf(!backendInfo().available)("the check before timing (skipped without the native backend)", () => {
  const size = { kvHeads: 2, headDim: 64 };

  it.each(["fp16", "kvq3", "nuq3-1%"])("lets right answers of %s through, and refuses one channel that is off", async (name) => {
    const layer = name === "fp16" ? name : fitSyntheticLayer(name, makeSyntheticStatistics(size));
    const tokens = makeSyntheticTokens(size);
    const query = tokens.query(4);
    using cache = createSyntheticCache({ layers: 1, queryHeads: 4, ...size }, layer, createThreads(1));
    await fillCache(cache, { tokens, length: 400, signal: new AbortController().signal });
    const output = new Float32Array(query.length).fill(Number.NaN);
    await cache.timeAttention(query, 1, output);

    expect(checkAttention({ cache, layer, tokens, query, output })).toBeLessThan(5e-3);
    output[output.length - 3]! += 0.02;
    expect(() => checkAttention({ cache, layer, tokens, query, output })).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
    output.fill(Number.NaN);
    expect(() => checkAttention({ cache, layer, tokens, query, output })).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
  });
});
