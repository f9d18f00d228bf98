import { describe, expect, it } from "vitest";

import { createKvCache } from "@kvquant/cache";
import type { KvCache } from "@kvquant/cache";
import { feed, maximumDifference, randomSequence, rowsOf } from "@kvquant/cache/testing";
import { openArtifact } from "@kvquant/quant";
import { randomArtifact } from "@kvquant/quant/testing";
import { createRope } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape } from "@kvquant/spec";

import { backendInfo } from "./backend-info.js";
import type { Isa } from "./isa.js";
import { createNativeCache, isNativeCache } from "./native-cache.js";
import type { NativeKvCache } from "./native-cache.js";
import { openNativeCodec } from "./native-codec.js";
import { createThreads } from "./native-threads.js";

const info = backendInfo();

interface Pair {
  readonly reference: KvCache;
  readonly native: NativeKvCache;
}

interface PairOptions {
  readonly preset: string;
  readonly shape: CacheShape;
  readonly isa: Isa;
  readonly precision?: "fast" | "exact";
  readonly tailTokens?: number;
  readonly sinkTokens?: number;
  readonly threads?: number;
  readonly scaling?: RopeConfig["scaling"];
  readonly rotaryDim?: number;
}

function makePair({ preset, shape, isa, precision = "fast", tailTokens = 10, sinkTokens = 1, threads = 2, scaling = { type: "none" }, rotaryDim = shape.headDim }: PairOptions): Pair {
  const rope: RopeConfig = { headDim: shape.headDim, rotaryDim, base: 10000, scaling };
  const artifact = preset === "fp16" ? undefined : randomArtifact(preset, shape, rope);
  const common = { shape, sinkTokens, tailTokens };
  return {
    reference: createKvCache({ ...common, rope: createRope(rope), layers: artifact === undefined ? "fp16" : openArtifact(artifact) }),
    native: createNativeCache({
      ...common,
      rope,
      layers: artifact === undefined ? "fp16" : artifact.layers.map(({ key, value }) => ({ key: openNativeCodec(key, { isa }), value: openNativeCodec(value, { isa }) })),
      threads: createThreads(threads),
      isa,
      precision,
    }),
  };
}

const shapeOf = (kvHeads: number, group: number, headDim: number): CacheShape => ({ layers: 1, queryHeads: kvHeads * group, kvHeads, headDim });

/** Puts a sequence through both caches in chunks and returns the largest difference of outputs; values are of the order of 1. */
async function compare({ reference, native }: Pair, tokens: number, chunks: readonly number[], seed = 5): Promise<number> {
  const sequence = randomSequence(native.shape, tokens, seed);
  let worst = 0;
  for (let from = 0, index = 0; from < tokens; index++) {
    const to = Math.min(tokens, from + chunks[Math.min(index, chunks.length - 1)]!);
    const difference = maximumDifference(await feed(native, sequence, { from, to }), await feed(reference, sequence, { from, to }));
    if (!(difference <= worst)) worst = difference;
    from = to;
  }
  return worst;
}

describe.skipIf(!info.available)("the native cache", () => {
  const chunks = [100, 1, 33, 1, 1, 64, 70, 1];

  for (const isa of info.isas) {
    for (const preset of ["fp16", "kvq4", "kvq3", "kvq2", "nuq4-1%", "nuq3-1%+fb", "nuq2"]) {
      it(`returns what the TypeScript cache returns, ${isa}, ${preset}`, async () => {
        for (const [kvHeads, group, headDim] of [[3, 3, 64], [2, 1, 128], [1, 4, 80], [1, 6, 128]] as const) {
          const pair = makePair({ preset, shape: shapeOf(kvHeads, group, headDim), isa });
          // Weights and keys in 16 bits: outputs of the order of 1 may move by some thousandths.
          expect(await compare(pair, 300, chunks)).toBeLessThan(preset === "fp16" ? 2e-3 : 6e-3);
          expect(pair.native.length).toBe(300);
          expect(pair.native.backends()).toEqual([`native-${isa}`]);
          const expected = pair.reference.layer(0).pages();
          expect(expected.length).toBe(preset === "fp16" ? 0 : 4);
          expect(pair.native.layer(0).pages()).toEqual(expected);
          expect(pair.native.bitsPerValue()).toEqual(pair.reference.bitsPerValue());
          expect([pair.native.saturated, pair.native.clamped]).toEqual([pair.reference.saturated, pair.reference.clamped]);
        }
      });
    }

    it(`is exact to fp16 rounding when asked for, ${isa}`, async () => {
      for (const preset of ["kvq3", "nuq3-1%"]) {
        const pair = makePair({ preset, shape: shapeOf(2, 3, 64), isa, precision: "exact" });
        expect(await compare(pair, 300, chunks)).toBeLessThan(2e-3);
      }
    });
  }

  it("follows partial rotary dims, YaRN factors, sinks and tails", async () => {
    const yarn = { type: "yarn", factor: 4, originalMaxPositionEmbeddings: 64 } as const;
    for (const options of [{ rotaryDim: 32 }, { scaling: yarn }, { sinkTokens: 0, tailTokens: 0 }, { sinkTokens: 5, tailTokens: 130 }]) {
      const pair = makePair({ preset: "kvq3", shape: shapeOf(2, 3, 64), isa: info.isa!, ...options });
      expect(await compare(pair, 400, chunks)).toBeLessThan(6e-3);
      expect(pair.native.layer(0).pages()).toEqual(pair.reference.layer(0).pages());
    }
  });

  it("gives the same bits on one thread as on three", async () => {
    const shape = shapeOf(3, 3, 64);
    const sequence = randomSequence(shape, 2300, 9);
    const outputs = [];
    for (const threads of [1, 3]) {
      const { native } = makePair({ preset: "kvq3", shape, isa: info.isa!, threads });
      outputs.push([...(await feed(native, sequence, { from: 0, to: 2200 })), ...(await feed(native, sequence, { from: 2200, to: 2201 })), ...(await feed(native, sequence, { from: 2201, to: 2300 }))]);
    }
    expect(outputs[0]).toEqual(outputs[1]);
  });

  it("truncates, forks and goes back like the TypeScript cache", async () => {
    for (const preset of ["kvq3", "nuq3-1%", "fp16"]) {
      const shape = shapeOf(2, 2, 64);
      const { reference, native } = makePair({ preset, shape, isa: info.isa! });
      const sequence = randomSequence(shape, 500, 11);
      const both = [native, reference];
      const step = async (caches: readonly KvCache[], from: number, to: number): Promise<void> => {
        const [a, b] = await Promise.all(caches.map((cache) => feed(cache, sequence, { from, to })));
        expect(maximumDifference(a!, b!)).toBeLessThan(6e-3);
        expectEqualPages(caches);
      };
      const expectEqualPages = ([a, b]: readonly KvCache[]): void => {
        expect(a!.layer(0).pages()).toEqual(b!.layer(0).pages());
        expect([a!.bitsPerValue(), a!.saturated, a!.clamped]).toEqual([b!.bitsPerValue(), b!.saturated, b!.clamped]);
      };
      await step(both, 0, 290);
      for (const cache of both) cache.truncate(233);
      expectEqualPages(both);
      for (const cache of both) cache.truncate(190);
      expectEqualPages(both);
      await step(both, 190, 234);
      const forks = both.map((cache) => cache.fork());
      await step(both, 234, 400);
      await step(forks, 234, 300);
      const restores = forks.map((cache) => cache.checkpoint());
      await step(forks, 300, 450);
      for (const restore of restores) restore();
      expect(forks[0]!.length).toBe(300);
      expectEqualPages(forks);
      await step(forks, 300, 301);
      for (const cache of both) cache.truncate(0);
      await step(both, 0, 130);
    }
  });

  it("counts what it allocates: pages to the byte, and little beside them", async () => {
    const shape = shapeOf(3, 3, 64);
    const { native } = makePair({ preset: "kvq3", shape, isa: info.isa!, tailTokens: 64 });
    const sequence = randomSequence(shape, 6000, 12);
    native.layer(0).append(rowsOf(sequence.k, 192, 0, 6000), rowsOf(sequence.v, 192, 0, 6000));
    const out = new Float32Array(576);
    await native.layer(0).attend(rowsOf(sequence.q, 576, 5999, 6000), { data: out, rows: 1, cols: 576 });
    const bytes = native.bytes();
    expect(bytes.pages).toBe(92 * (3 * (64 * 24 + 128) + 3 * 64 * 24 + 128));
    expect(bytes.pageHeaders).toBeLessThan(0.09 * bytes.pages);
    expect(bytes.perToken).toBeCloseTo(bytes.total / 6000, 9);
  });

  it("counts of a fork what it does not share, whatever either of them went on with", async () => {
    const shape = shapeOf(3, 3, 64);
    const { native } = makePair({ preset: "kvq3", shape, isa: info.isa!, tailTokens: 0, sinkTokens: 0 });
    const sequence = randomSequence(shape, 64 * 9, 12);
    const page = 3 * (64 * 24 + 128) + 3 * 64 * 24 + 128;
    const pagesBeyond = (cache: NativeKvCache, other: NativeKvCache): number => cache.bytes(other).pages / page;
    await feed(native, sequence, { from: 0, to: 64 * 5 });
    const fork = native.fork();
    expect([pagesBeyond(fork, native), pagesBeyond(native, native.another())]).toEqual([0, 5]);
    await feed(native, sequence, { from: 64 * 5, to: 64 * 7 });
    await feed(fork, sequence, { from: 64 * 5, to: 64 * 9 });
    expect([pagesBeyond(fork, native), pagesBeyond(native, fork)]).toEqual([4, 2]);
    fork.truncate(64 * 3 + 10);
    expect([pagesBeyond(fork, native), pagesBeyond(native, fork)]).toEqual([0, 3]);
    const restore = native.checkpoint();
    native.truncate(0);
    expect([pagesBeyond(fork, native), pagesBeyond(native, fork), native.bytes().pages]).toEqual([4, 0, 0]);
    restore();
    expect([pagesBeyond(fork, native), pagesBeyond(native, fork), native.bytes().pages]).toEqual([0, 3, 7 * page]);
  });

  it("takes pages made elsewhere and refuses damaged ones", async () => {
    const shape = shapeOf(2, 2, 64);
    const { native, reference } = makePair({ preset: "nuq3-1%", shape, isa: info.isa!, sinkTokens: 0, tailTokens: 0 });
    const sequence = randomSequence(shape, 130, 13);
    await feed(reference, sequence, { from: 0, to: 128 });
    const [page] = reference.layer(0).pages();
    const bytes = page!.key.bytes.slice();
    bytes[bytes.length - 40] = 255;
    const cut = page!.value.bytes.slice(0, -1);
    expect(() => native.addPage(0, { ...page!, value: { ...page!.value, bytes: cut } })).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
    expect(() => native.addPage(0, { ...page!, key: { ...page!.key, bytes: bytes.fill(255) } })).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
    expect(native.length).toBe(0);
    native.addPage(0, page!);
    expect(native.layer(0).pages()).toEqual([page]);
    expect(isNativeCache(native)).toBe(true);
    expect(isNativeCache(reference)).toBe(false);
  });

  it("refuses wrong lengths, NaN, numbers beyond fp16, a running attend and a disposed cache, and changes nothing", async () => {
    const shape = shapeOf(2, 2, 64);
    const { native } = makePair({ preset: "kvq3", shape, isa: info.isa! });
    const sequence = randomSequence(shape, 200, 14);
    await feed(native, sequence, { from: 0, to: 100 });
    const layer = native.layer(0);
    const before = [layer.length, layer.pages()];
    const bad = rowsOf(sequence.k.slice(), 128, 100, 110);
    for (const value of [NaN, Infinity, 70000]) {
      bad.data[300] = value;
      expect(() => layer.append(bad, rowsOf(sequence.v, 128, 100, 110))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/layer 0 append: .* at token 2/) }));
    }
    expect(() => layer.append(rowsOf(sequence.k, 128, 0, 3), rowsOf(sequence.v, 128, 0, 2))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => native.layer(1)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => native.truncate(101)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    const q = rowsOf(sequence.q, 256, 100, 101);
    await expect(layer.attend({ ...q, cols: 128 }, q)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect([layer.length, layer.pages()]).toEqual(before);

    layer.append(rowsOf(sequence.k, 128, 100, 101), rowsOf(sequence.v, 128, 100, 101));
    const out = { data: new Float32Array(256), rows: 1, cols: 256 };
    const running = layer.attend(q, out);
    expect(() => native.truncate(3)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => native.dispose()).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    await running;
    expect(out.data.every(Number.isFinite)).toBe(true);
    native.dispose();
    expect(() => native.length).toThrow(expect.objectContaining({ code: "DISPOSED" }));
    await expect(layer.attend(q, out)).rejects.toMatchObject({ code: "DISPOSED" });
  });

  it("names what exists for head dims, bits, quantizers and rope scalings without kernels", () => {
    const shape = shapeOf(1, 1, 24);
    const rope: RopeConfig = { headDim: 24, rotaryDim: 24, base: 10000, scaling: { type: "none" } };
    const { key } = randomArtifact("kvq3", shape, rope).layers[0]!;
    expect(() => openNativeCodec(key)).toThrow(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(/head dim 24; there are for multiples of 16/) }));
    expect(() => openNativeCodec({ ...key, id: "mine/keys" })).toThrow(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(/mine\/keys; there are for kvquant\/channel-keys/) }));
    const dynamic: RopeConfig = { headDim: 64, rotaryDim: 64, base: 10000, scaling: { type: "dynamic", factor: 2, maxPositionEmbeddings: 64 } };
    expect(() => createNativeCache({ shape: shapeOf(1, 1, 64), rope: dynamic, layers: "fp16", threads: createThreads(1) })).toThrow(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(/reference engine/) }));
    expect(() => createNativeCache({ shape: shapeOf(1, 1, 64), rope: { ...dynamic, scaling: { type: "none" } }, layers: "fp16", threads: createThreads(1), isa: "avx10" as Isa })).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});
