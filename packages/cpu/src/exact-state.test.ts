import { describe, expect, it } from "vitest";

import { createKvCache, decodePageAtRest, encodePageAtRest } from "@kvquant/cache";
import type { KvCache } from "@kvquant/cache";
import { feed, randomSequence } from "@kvquant/cache/testing";
import { openArtifact } from "@kvquant/quant";
import { randomArtifact } from "@kvquant/quant/testing";
import { createRope } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape } from "@kvquant/spec";

import { backendInfo } from "./backend-info.js";
import { createNativeCache } from "./native-cache.js";
import type { NativeKvCache } from "./native-cache.js";
import { openNativeCodec } from "./native-codec.js";
import { createThreads } from "./native-threads.js";

const shape: CacheShape = { layers: 1, queryHeads: 4, kvHeads: 2, headDim: 64 };
const rope: RopeConfig = { headDim: 64, rotaryDim: 64, base: 10000, scaling: { type: "none" } };
const corrupt = expect.objectContaining({ code: "CORRUPT_DATA" }) as unknown;

function makeNative(preset: string, sinkTokens = 1): NativeKvCache {
  const layers = preset === "fp16" ? "fp16" : randomArtifact(preset, shape, rope).layers.map(({ key, value }) => ({ key: openNativeCodec(key), value: openNativeCodec(value) }));
  return createNativeCache({ shape, rope, layers, threads: createThreads(2), sinkTokens });
}

/** What a restart does: a new cache from records alone. */
function restore(cache: NativeKvCache): NativeKvCache {
  const state = cache.exportExact();
  const restored = cache.another();
  restored.importSinks(state);
  for (let index = 0; index < cache.layer(0).pages().length; index++) {
    cache.exportPage(index).forEach((page, layer) => restored.addPage(layer, decodePageAtRest(encodePageAtRest(page!))));
  }
  restored.importTail(state);
  return restored;
}

describe.skipIf(!backendInfo().available)("the exact state of a native cache", () => {
  for (const preset of ["kvq3", "nuq2-1%", "fp16"]) {
    it(`goes on with the same bits in another cache, ${preset}`, async () => {
      const sequence = randomSequence(shape, 420, 3);
      for (const length of [1, 40, 129, 193, 250]) {
        const cache = makeNative(preset);
        await feed(cache, sequence, { from: 0, to: length });
        const restored = restore(cache);
        expect(restored.length).toBe(length);
        expect(restored.bytes().exact).toBe(cache.bytes().exact);
        expect(await feed(restored, sequence, { from: length, to: 420 })).toEqual(await feed(cache, sequence, { from: length, to: 420 }));
        expect(restored.layer(0).pages()).toEqual(cache.layer(0).pages());
      }
    });
  }

  it("takes no record with a changed byte, a missing end or of another shape, and is as it was then", async () => {
    const cache = makeNative("kvq3");
    await feed(cache, randomSequence(shape, 100, 4), { from: 0, to: 100 });
    const state = cache.exportExact();
    const other = cache.another();
    for (let place = 0; place < state.length; place += place < 90 ? 1 : 997) {
      const damaged = state.slice();
      damaged[place]! ^= 0x10;
      expect(() => other.importSinks(damaged), `byte ${place}`).toThrow(corrupt);
    }
    for (const length of [0, 50, 80, state.length - 1]) expect(() => other.importSinks(state.subarray(0, length))).toThrow(corrupt);
    expect(() => makeNative("fp16").importSinks(state)).toThrow(corrupt);
    expect(other.length).toBe(0);
    other.importSinks(state);
    expect(other.length).toBe(1);
    other.importTail(state);
    expect(() => other.importTail(state)).toThrow(corrupt);
    expect(other.length).toBe(100);
  });

  it("counts what a fork does not share", async () => {
    const sequence = randomSequence(shape, 400, 5);
    const artifact = randomArtifact("kvq3", shape, rope);
    const caches: KvCache[] = [makeNative("kvq3"), makeNative("fp16"), createKvCache({ shape, rope: createRope(rope), layers: openArtifact(artifact) }), createKvCache({ shape, rope: createRope(rope), layers: "fp16" })];
    for (const cache of caches) {
      await feed(cache, sequence, { from: 0, to: 193 });
      const fork = cache.fork();
      const same = fork.bytes(cache);
      expect([same.pages, same.pageHeaders, same.tables]).toEqual([0, 0, 0]);
      // fp16 layers have no sinks, so the 193rd token lies in a chunk of its own; the TypeScript cache copies it at once.
      expect(same.exact).toBeLessThanOrEqual(64 * 2 * 64 * 4);
      await feed(fork, sequence, { from: 193, to: 400 });
      const beyond = fork.bytes(cache);
      const whole = fork.bytes();
      const shared = cache.bytes();
      expect(beyond.pages).toBe(whole.pages - shared.pages);
      expect(beyond.exact).toBe(shared.pages > 0 ? whole.exact : whole.exact - Math.floor(193 / 64) * (shared.exact / Math.ceil(193 / 64)));
    }
    expect(() => caches[0]!.bytes(caches[2])).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
