import { describe, expect, it } from "vitest";

import type { KvCache } from "@kvquant/cache";
import { maximumDifference, randomSequence } from "@kvquant/cache/testing";
import type { TestSequence } from "@kvquant/cache/testing";
import type { EncodedBlock } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonAttend, AddonLayer, AddonTables } from "./addon.js";
import { createCudaDevice } from "./cuda-device.js";
import { createCudaKernels } from "./cuda-kernels.js";
import { openCudaPlan } from "./cuda-plan.js";
import type { CudaKvCache, CudaLayerPlan } from "./cuda-plan.js";
import { takeAllMemory, useEmulatedDevice } from "./fixtures/emulated-device.js";
import { addonIsBuilt } from "./fixtures/fake-driver.js";
import { append, attendLast, feedLast, float64Kernel, optionsOf, referenceOf, shapeOf } from "./fixtures/test-caches.js";
import type { FeedRange, HostOptions } from "./fixtures/test-caches.js";

/** Values are of the order of 1; the error of the kernels is measured in docs/cuda.md. */
const TOLERANCE = 6e-3;
/** Between a sequence alone and in a batch: it is split into other parts, which are rounded apart. */
const SPLITS = 1e-3;

const nextOf = (cache: KvCache, tokens = 1): FeedRange => ({ from: cache.length, to: cache.length + tokens });

describe.skipIf(!addonIsBuilt())("caches that attend together", () => {
  const on = useEmulatedDevice();

  /** Launches and calls of the driver that work takes. */
  async function count(work: () => Promise<unknown>): Promise<{ launches: number; calls: number }> {
    const before = on.driver.counts();
    await work();
    const after = on.driver.counts();
    return { launches: after.launches - before.launches, calls: after.calls - before.calls };
  }

  /** Caches of one plan with random sequences of these lengths, and the same in TypeScript. */
  async function open(options: HostOptions, lengths: readonly number[], kernels = on.kernels): Promise<{ caches: CudaKvCache[]; references: KvCache[]; sequences: TestSequence[]; plan: ReturnType<typeof openCudaPlan> }> {
    const plan = openCudaPlan({ ...options, kernels });
    const caches = lengths.map(() => plan.createCache());
    const references = lengths.map(() => referenceOf(options));
    const sequences = lengths.map((length, index) => randomSequence(options.shape, length + 400, 20 + index));
    await Promise.all([...caches, ...references].map((cache, index) => feedLast(cache, sequences[index % lengths.length]!, { from: 0, to: lengths[index % lengths.length]! })));
    return { caches, references, sequences, plan };
  }

  it.each(["fp16", "kvq2", "nuq2-1%"])("return what each returns alone, what TypeScript and what float64 return, %s", async (preset) => {
    // No page, a page that closes within the steps, several of them; one sink, a tail of ten and partial chunks everywhere.
    const lengths = [1, 73, 100, 290];
    for (const shape of [shapeOf(2, 3, 64), shapeOf(1, 1, 64)]) {
      const options = optionsOf({ preset, shape });
      const { caches, references, sequences, plan } = await open(options, lengths);
      const alone = lengths.map(() => plan.createCache());
      const exact = lengths.map(() => referenceOf(options, float64Kernel));
      for (const [index, length] of lengths.entries()) for (const cache of [alone[index]!, exact[index]!]) await feedLast(cache, sequences[index]!, { from: 0, to: length });
      for (let step = 0; step < 3; step++) {
        const ranges = caches.map((cache) => nextOf(cache));
        const together = await Promise.all(caches.map((cache, index) => feedLast(cache, sequences[index]!, ranges[index]!)));
        for (const [index, answer] of together.entries()) {
          expect(maximumDifference(answer, await feedLast(alone[index]!, sequences[index]!, ranges[index]!))).toBeLessThan(SPLITS);
          for (const other of [references, exact]) expect(maximumDifference(answer, await feedLast(other[index]!, sequences[index]!, ranges[index]!))).toBeLessThan(TOLERANCE);
        }
      }
      expect(caches.map((cache) => cache.layer(0).pages().length)).toEqual(preset === "fp16" ? [0, 0, 0, 0] : [0, 1, 1, 4]);
      for (const [index, cache] of caches.entries()) expect(cache.layer(0).pages()).toEqual(references[index]!.layer(0).pages());
      for (const cache of [...caches, ...alone]) cache.dispose();
    }
  });

  it.each(["fp16", "kvq2"])("take the launches, copies and waits of one, %s", async (preset) => {
    const options = optionsOf({ preset, shape: shapeOf(1, 2, 64) });
    const { caches, sequences } = await open(options, [100, 110, 150, 200]);
    const step = (chosen: readonly CudaKvCache[]): Promise<unknown> => Promise.all(chosen.map((cache) => feedLast(cache, sequences[caches.indexOf(cache)]!, nextOf(cache))));
    // Working memory grows to what a batch of all needs.
    await step(caches);
    await step(caches.slice(0, 1));
    const alone = await count(() => step(caches.slice(0, 1)));
    expect(alone.launches).toBe(preset === "fp16" ? 2 : 3);
    expect(await count(() => step(caches))).toEqual(alone);
    const apart = await count(async () => {
      for (const cache of caches) await step([cache]);
    });
    expect(apart.launches).toBe(4 * alone.launches);
    for (const cache of caches) cache.dispose();
  });

  it("upload what is new: a step costs no more after many pages than after few", async () => {
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 2, 64) });
    const uploaded = async (length: number): Promise<number> => {
      const { caches, sequences } = await open(options, [length, length, length]);
      const step = (): Promise<unknown> => Promise.all(caches.map((cache, index) => feedLast(cache, sequences[index]!, nextOf(cache))));
      await step();
      const before = on.driver.counts().uploaded;
      await step();
      const bytes = on.driver.counts().uploaded - before;
      for (const cache of caches) cache.dispose();
      return bytes;
    };
    const few = await uploaded(100);
    expect(few).toBeGreaterThan(3 * 3 * 64 * 2 * 4); // a query of two heads, a key and a value of each
    expect(await uploaded(100 + 64 * 20)).toBe(few);
  });

  it("may be prompts and steps at once, and more queries than one set of launches takes", async () => {
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 64) });
    const { caches, references, sequences } = await open(options, [70, 1, 200]);
    const ranges = [3, 299, 1].map((tokens, index) => ({ ...nextOf(caches[index]!, tokens), rows: tokens }));
    const answer = (each: readonly KvCache[]): Promise<Float32Array[]> => Promise.all(each.map((cache, index) => feedLast(cache, sequences[index]!, ranges[index]!)));
    let answers: Float32Array[] = [];
    // 303 queries: 256 and the rest. New tokens are appended with the first queries of their sequence.
    expect((await count(async () => (answers = await answer(caches)))).launches).toBe(2 * 3);
    for (const [index, expected] of (await answer(references)).entries()) expect(maximumDifference(answers[index]!, expected)).toBeLessThan(TOLERANCE);
    for (const cache of caches) cache.dispose();
  });

  it("do not mix layers, nor plans", async () => {
    const options = optionsOf({ preset: "kvq2", shape: { ...shapeOf(1, 1, 64), layers: 2 } });
    const plans = [openCudaPlan({ ...options, kernels: on.kernels }), openCudaPlan({ ...options, kernels: on.kernels })];
    const sequence = randomSequence(options.shape, 200, 3);
    const tasks = [0, 0, 1].flatMap((plan) => [0, 1].map((layer) => ({ cache: plans[plan]!.createCache(), layer })));
    const expected = await Promise.all([0, 1].map((layer) => feedLast(referenceOf(options), sequence, { from: 0, to: 100, layer })));
    const answers: Float32Array[] = [];
    const { launches } = await count(async () => answers.push(...(await Promise.all(tasks.map(({ cache, layer }) => feedLast(cache, sequence, { from: 0, to: 100, layer }))))));
    expect(launches).toBe(4 * 3);
    for (const [index, { cache, layer }] of tasks.entries()) {
      expect(maximumDifference(answers[index]!, expected[layer]!)).toBeLessThan(TOLERANCE);
      cache.dispose();
    }
  });

  it("share the pages of forks, and go on apart", async () => {
    const options = optionsOf({ preset: "nuq2-1%", shape: shapeOf(1, 2, 64) });
    // Three at once: working memory has grown to what the batch below needs.
    const { caches: [cache, ...rest], references: [reference], sequences } = await open(options, [200, 200, 200]);
    for (const each of rest) each.dispose();
    const caches = [cache!, cache!.fork(), cache!.fork()];
    const references = [reference!, reference!.fork(), reference!.fork()];
    const blocks = cache!.layer(0).pages().reduce((sum, { key, value }) => sum + key.bytes.length + value.bytes.length, 0);
    const others = [sequences[0]!, randomSequence(options.shape, 300, 31), randomSequence(options.shape, 300, 32)];
    // Working memory grows with batches.
    const held = (): number => on.device.memory().used - on.kernels.workBytes();
    const before = held();
    const range = { from: 200, to: 201 };
    const answers = await Promise.all(caches.map((each, index) => feedLast(each, others[index]!, range)));
    // Exact tokens of two forks, one sink and 16 to 79 others, a row with three parts in fp16, and tables; and no page.
    const exact = 2 * (1 + 64 * 2) * 3 * 64 * 2;
    expect(blocks).toBeGreaterThan(5_000);
    expect(held() - before).toBeLessThan(exact + 5_000);
    for (const [index, each] of references.entries()) expect(maximumDifference(answers[index]!, await feedLast(each, others[index]!, range))).toBeLessThan(TOLERANCE);
    for (const each of caches.slice(1)) expect(await each.downloadPages(0)).toEqual(await cache!.downloadPages(0));
    for (const each of caches) each.dispose();
  });

  describe("when one of them cannot be answered", () => {
    /** Answers all, of which the second fails, then that one again after `mend`; all must agree with TypeScript. */
    async function expectOneToFail({ caches, references, sequences, ranges, failure, mend }: { caches: readonly CudaKvCache[]; references: readonly KvCache[]; sequences: readonly TestSequence[]; ranges: readonly FeedRange[]; failure: object; mend: () => void }): Promise<void> {
      const pages = caches[1]!.layer(0).pages();
      for (const [index, cache] of caches.entries()) append(cache, sequences[index]!, ranges[index]!);
      const outcomes = await Promise.allSettled(caches.map((cache, index) => attendLast(cache, sequences[index]!, ranges[index]!)));
      expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject(failure);
      expect([caches[1]!.length, caches[1]!.layer(0).pages()]).toEqual([ranges[1]!.to, pages]);
      mend();
      const repeated = await attendLast(caches[1]!, sequences[1]!, ranges[1]!);
      for (const [index, reference] of references.entries()) {
        const answer = index === 1 ? repeated : (outcomes[index] as PromiseFulfilledResult<Float32Array>).value;
        expect(maximumDifference(answer, await feedLast(reference, sequences[index]!, ranges[index]!))).toBeLessThan(TOLERANCE);
        expect(caches[index]!.layer(0).pages()).toEqual(reference.layer(0).pages());
        expect(await caches[index]!.downloadPages(0)).toEqual(reference.layer(0).pages().map(({ key, value }) => ({ key: key.bytes, value: value.bytes })));
      }
    }

    it("because a page is damaged, the others are, and it can be asked again", async () => {
      const options = optionsOf({ preset: "nuq2-1%", shape: shapeOf(1, 1, 64) });
      const [plan] = options.layers as readonly CudaLayerPlan[];
      let damaged: EncodedBlock | undefined;
      let damage = false;
      const key: CudaLayerPlan["key"] = {
        ...plan!.key,
        encode(x) {
          const block = plan!.key.encode(x);
          if (!damage) return block;
          damage = false;
          // Counts of outliers are the last bytes.
          return (damaged = { ...block, bytes: block.bytes.map((byte, index) => (index < block.bytes.length - 64 ? byte : 255)) });
        },
      };
      const { caches, references, sequences } = await open({ ...options, layers: [{ ...plan!, key }] }, [90, 60, 64]);
      // The second closes its first page with this step; the others none.
      const ranges = [1, 20, 1].map((tokens, index) => nextOf(caches[index]!, tokens));
      damage = true;
      await expectOneToFail({ caches, references, sequences, ranges, failure: { code: "CORRUPT_DATA", message: expect.stringMatching(/key block/) }, mend: () => expect(damaged).toBeDefined() });
      for (const cache of caches) cache.dispose();
    });

    it("because there is no device memory for its upload, the others are, and it can be asked again", async () => {
      using small = createCudaDevice({ memoryLimit: 3 << 20 });
      const options = optionsOf({ preset: "kvq2", shape: shapeOf(2, 1, 64) });
      const { caches, references, sequences } = await open(options, [90, 150, 100], createCudaKernels(small, on.images));
      // Working memory of the batch that is left when one fails.
      const warm = caches.map((cache) => nextOf(cache));
      for (const each of [caches, references]) await Promise.all(each.map((cache, index) => feedLast(cache, sequences[index]!, warm[index]!)));
      const mend = takeAllMemory(small);
      const ranges = [1, 130, 1].map((tokens, index) => nextOf(caches[index]!, tokens));
      await expectOneToFail({ caches, references, sequences, ranges, failure: { code: "OUT_OF_CAPACITY", message: expect.stringMatching(/^layer 0/) }, mend });
      for (const cache of caches) cache.dispose();
    });

    it("because its keys do not fit fp16 after RoPE, the others are; without them it goes on", async () => {
      const options = optionsOf({ preset: "fp16", shape: shapeOf(1, 1, 64) });
      const { caches, references, sequences } = await open(options, [90, 40, 100]);
      // Both halves of a pair just below 65,504: turned by an angle, one of them is above.
      const large = { ...sequences[1]!, k: sequences[1]!.k.map((x, index) => (index >= 40 * 64 && index < 41 * 64 ? 60_000 : x)) };
      const ranges = caches.map((cache) => nextOf(cache));
      for (const [index, cache] of caches.entries()) append(cache, index === 1 ? large : sequences[index]!, ranges[index]!);
      const outcomes = await Promise.allSettled(caches.map((cache, index) => attendLast(cache, sequences[index]!, ranges[index]!)));
      expect(outcomes[1]).toMatchObject({ status: "rejected", reason: { code: "INVALID_ARGUMENT", message: "layer 0: expected keys that fit fp16 after RoPE, got others" } });
      for (const index of [0, 2]) expect(maximumDifference((outcomes[index] as PromiseFulfilledResult<Float32Array>).value, await feedLast(references[index]!, sequences[index]!, ranges[index]!))).toBeLessThan(TOLERANCE);
      caches[1]!.truncate(40);
      const again = await Promise.all(caches.map((cache, index) => feedLast(cache, sequences[index]!, nextOf(cache))));
      for (const [index, reference] of references.entries()) expect(maximumDifference(again[index]!, await feedLast(reference, sequences[index]!, nextOf(reference)))).toBeLessThan(TOLERANCE);
      for (const cache of caches) cache.dispose();
    });

    it.each(["fp16", "kvq2"])("because its queries are too large for fp16, the others are; with smaller ones it is, %s", async (preset) => {
      const options = optionsOf({ preset, shape: shapeOf(1, 1, 64) });
      const { caches, references, sequences } = await open(options, [90, 150]);
      const ranges = caches.map((cache) => nextOf(cache));
      for (const [index, cache] of caches.entries()) append(cache, sequences[index]!, ranges[index]!);
      const large = { ...sequences[1]!, q: sequences[1]!.q.map((x) => x * 1e7) };
      const outcomes = await Promise.allSettled(caches.map((cache, index) => attendLast(cache, index === 1 ? large : sequences[index]!, ranges[index]!)));
      expect(outcomes[1]).toMatchObject({ status: "rejected", reason: { code: "INVALID_ARGUMENT", message: expect.stringMatching(/^layer 0: expected queries whose products with the keys fit fp16, got an answer that is not a number/) } });
      const answers = [(outcomes[0] as PromiseFulfilledResult<Float32Array>).value, await attendLast(caches[1]!, sequences[1]!, ranges[1]!)];
      for (const [index, reference] of references.entries()) expect(maximumDifference(answers[index]!, await feedLast(reference, sequences[index]!, ranges[index]!))).toBeLessThan(TOLERANCE);
      for (const cache of caches) cache.dispose();
    });

    it("because it was disposed of, before the batch starts or while it runs, the others are", async () => {
      const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 64) });
      for (const running of [false, true]) {
        const { caches, references, sequences } = await open(options, [90, 100, 110]);
        const ranges = caches.map((cache) => nextOf(cache));
        const pending = Promise.allSettled(caches.map((cache, index) => feedLast(cache, sequences[index]!, ranges[index]!)));
        const refusal = expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/no attend running/) });
        for (const use of [() => caches[0]!.truncate(0), () => caches[0]!.fork(), () => append(caches[0]!, sequences[0]!, ranges[0]!)]) expect(use).toThrow(refusal);
        if (running) {
          // Microtasks run, the work of the other thread cannot be told of yet.
          await Promise.resolve();
          await Promise.resolve();
          expect(() => on.device.dispose()).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/no work running/) }));
        }
        caches[1]!.dispose();
        const outcomes = await pending;
        expect(outcomes[1]).toMatchObject({ status: "rejected", reason: { code: "DISPOSED" } });
        for (const index of [0, 2]) expect(maximumDifference((outcomes[index] as PromiseFulfilledResult<Float32Array>).value, await feedLast(references[index]!, sequences[index]!, ranges[index]!))).toBeLessThan(TOLERANCE);
        for (const cache of caches) cache.dispose();
      }
    });
  });

  it("are refused one by one by the addon when they do not fit, whatever the others ask", async () => {
    const addon = loadAddon();
    const openTables = (): AddonTables => new addon.Tables(on.kernels.handle, { ...shapeOf(1, 1, 64), sinkTokens: 1, rotaryDim: 64, attentionFactor: 1, frequencies: new Float64Array(32), layers: [null, null] });
    const tables = openTables();
    const layers: AddonLayer[] = [];
    const callOf = (more: Partial<AddonAttend> = {}): AddonAttend => {
      const layer = more.layer ?? new addon.Layer(tables, 0);
      layers.push(layer);
      const row = { position: 0, count: 1, keys: new Float32Array(64), values: new Float32Array(64).fill(0.5) };
      const out = new Float32Array(64);
      return { columns: 64, queryColumns: 64, pages: [], starts: new Float64Array(0), tokens: new Uint32Array(0), length: 1, rows: [row], queries: new Float32Array(64), first: 0, visible: new Uint32Array(1), out, ...more, layer };
    };
    const good = callOf();
    const twice = callOf({ layer: good.layer });
    const wrong: Partial<AddonAttend>[] = [
      { layer: {} as AddonLayer }, { layer: new addon.Layer(tables, 1) }, { layer: new addon.Layer(openTables(), 0) }, { columns: 32 }, { queryColumns: 32 }, { queries: new Float32Array(63) }, { out: new Float32Array(63) },
      { first: 1 }, { length: 2 }, { visible: Uint32Array.of(1) }, { starts: new Float64Array(1) }, { rows: [{ position: 64, count: 1, keys: new Float32Array(64), values: new Float32Array(64) }] },
      { rows: [{ position: 0, count: 2, keys: new Float32Array(64), values: new Float32Array(64) }] },
    ];
    const outcomes = await tables.attend(0, [good, twice, ...wrong.map(callOf), callOf()]);
    expect(outcomes.map((outcome) => outcome === undefined)).toEqual([true, false, ...wrong.map(() => false), true]);
    for (const outcome of outcomes.slice(1, -1)) expect(outcome).toBeInstanceOf(Error);
    expect(good.out).toEqual(new Float32Array(64).fill(0.5));
    expect(() => tables.attend(2, [])).toThrow(/layer/);
    expect(await tables.attend(1, [])).toEqual([]);
    for (const layer of layers) if ("dispose" in layer) layer.dispose();
  });

  it.each(["cuMemsetD8Async", "cuLaunchKernel", "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize"])("are all refused when their %s fails, whichever it is, intact on the host, and answered when asked again", async (call) => {
    const options = optionsOf({ preset: "kvq2", shape: shapeOf(1, 1, 64) });
    let failures = 0;
    for (let which = 1; ; which++) {
      const { caches, references, sequences } = await open(options, [70, 100]);
      const ranges = caches.map((cache) => nextOf(cache, 5));
      const pages = caches.map((cache) => cache.layer(0).pages());
      for (const [index, cache] of caches.entries()) append(cache, sequences[index]!, ranges[index]!);
      const attend = (): Promise<PromiseSettledResult<Float32Array>[]> => Promise.allSettled(caches.map((cache, index) => attendLast(cache, sequences[index]!, ranges[index]!)));
      on.driver.configure(`fail=${call}@${which}:719`);
      const outcomes = await attend();
      on.driver.configure("");
      const failed = outcomes.filter(({ status }) => status === "rejected");
      if (failed.length > 0) {
        failures++;
        for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: { code: "NATIVE_UNAVAILABLE", message: expect.stringContaining(`${call}, `) } });
        expect(caches.map((cache) => cache.layer(0).pages())).toEqual(pages);
        for (const [index, outcome] of (await attend()).entries()) {
          expect(maximumDifference((outcome as PromiseFulfilledResult<Float32Array>).value, await feedLast(references[index]!, sequences[index]!, ranges[index]!))).toBeLessThan(TOLERANCE);
        }
      }
      for (const cache of caches) cache.dispose();
      if (failed.length === 0) break;
    }
    expect(failures).toBeGreaterThan(0);
  });
});
