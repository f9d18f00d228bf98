import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cacheBytesAt } from "./cache-bytes-at.js";
import { evaluateCaches } from "./evaluate-caches.js";
import type { EvaluationProgress } from "./evaluate-caches.js";
import { createToyModel, toyArtifact, toyTokens } from "./test-support/toy-model.js";

const fp16 = { name: "fp16", artifact: "fp16" as const };
const coarse = { name: "coarse", artifact: toyArtifact(0.5) };
const fine = { name: "fine", artifact: toyArtifact(0.1) };
const context = 200;
const tokens = toyTokens(700);

/** Log-probabilities `[context, vocabulary]` in float64, from hidden states of one forward pass or of one token at a time. */
async function distributions(window: Int32Array, options: { artifact: typeof coarse.artifact | "fp16"; tailTokens?: number; quantizeOpenPage?: boolean }, chunk: number): Promise<number[][]> {
  const { model } = createToyModel();
  const cache = model.createCache(options);
  const rows: number[][] = [];
  for (let start = 0; start < window.length; start += chunk) {
    const part = window.slice(start, start + chunk);
    const hidden = await model.forward(part, cache);
    const flat = await model.logProbabilities(hidden, part.length);
    for (let row = 0; row < part.length; row++) rows.push([...flat.subarray((row * flat.length) / part.length, ((row + 1) * flat.length) / part.length)]);
  }
  return rows;
}

function bruteForce(window: Int32Array, reference: number[][], own: number[][]) {
  let divergence = 0;
  let agreeing = 0;
  let loss = 0;
  let referenceLoss = 0;
  const count = window.length - 1;
  for (let position = 0; position < count; position++) {
    const p = reference[position]!;
    const q = own[position]!;
    divergence += p.reduce((sum, value, index) => sum + Math.exp(value) * (value - q[index]!), 0) / count;
    agreeing += p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q)) ? 1 / count : 0;
    loss -= q[window[position + 1]!]! / count;
    referenceLoss -= p[window[position + 1]!]! / count;
  }
  return { kldMean: divergence, top1: agreeing, perplexity: Math.exp(loss), deltaPerplexity: Math.exp(loss) - Math.exp(referenceLoss) };
}

describe("evaluateCaches", () => {
  it("equals brute force over step-by-step decoding through the cache for tails of 1 and more", async () => {
    const window = tokens.slice(0, context);
    const exact = await distributions(window, { artifact: "fp16" }, 1);
    for (const tail of [1, 7, 64]) {
      const report = await evaluateCaches(createToyModel().model, { caches: [coarse], tokens, context, windows: 1, tails: [tail] });
      const stepped = await distributions(window, { artifact: coarse.artifact, tailTokens: tail }, 1);
      const expected = bruteForce(window, exact, stepped);
      const row = report.rows[0]!;
      expect(row.tokensScored).toBe(context - 1);
      expect(row.kldMean).toBeGreaterThan(1e-4);
      expect(row.kldMean).toBeCloseTo(expected.kldMean, 6);
      expect(row.top1).toBeCloseTo(expected.top1, 12);
      expect(row.perplexity).toBeCloseTo(expected.perplexity, 4);
      expect(row.deltaPerplexity).toBeCloseTo(expected.deltaPerplexity, 4);
    }
  });

  it("compresses every position after the sink when the tail is 0", async () => {
    const report = await evaluateCaches(createToyModel().model, { caches: [coarse], tokens, context, windows: 1, tails: [0, 1, 64] });
    const window = tokens.slice(0, context);
    const strict = await distributions(window, { artifact: coarse.artifact, tailTokens: 0, quantizeOpenPage: true }, context);
    const expected = bruteForce(window, await distributions(window, { artifact: "fp16" }, context), strict);
    const [none, one, many] = report.rows;
    expect(none!.kldMean).toBeCloseTo(expected.kldMean, 6);
    expect(none!.kldMean).toBeGreaterThan(one!.kldMean);
    expect(one!.kldMean).toBeGreaterThan(many!.kldMean);
  });

  it("gives zero divergence, no delta and 16 bits for fp16, and less damage for finer levels", async () => {
    const report = await evaluateCaches(createToyModel().model, { caches: [fp16, coarse, fine], tokens, context, windows: 2, tails: [0, 64] });
    expect(report.rows.map((row) => [row.cache, row.tail])).toEqual([["fp16", 0], ["coarse", 0], ["fine", 0], ["fp16", 64], ["coarse", 64], ["fine", 64]]);
    const [exact, bad, good] = report.rows;
    expect(exact).toMatchObject({ kldMean: 0, kld999: 0, top1: 1, deltaPerplexity: 0, deltaPerplexityError: 0, bitsPerValue: 16, keyBits: 16, tokensScored: 2 * (context - 1) });
    expect(good!.kldMean).toBeLessThan(bad!.kldMean / 10);
    expect(good!.kldMedian).toBeLessThan(good!.kld999);
    expect(report.protocol).toMatchObject({ context, windows: 2, tails: [0, 64], beginningOfText: false });
    expect(JSON.parse(JSON.stringify(report)).rows[1].kldMean).toBe(bad!.kldMean);
  });

  it("states measured bits and bytes", async () => {
    const { model } = createToyModel();
    const { rows } = await evaluateCaches(model, { caches: [fp16, coarse], tokens, context, windows: 1, tails: [64], bytesAtTokens: 1000 });
    expect(rows[1]).toMatchObject({ bitsPerValue: 8, keyBits: 8, valueBits: 8, sinkTokens: 1, saturated: 2 * 2 * 2, clamped: 0 });
    for (const [index, artifact] of ["fp16" as const, coarse.artifact].entries()) {
      for (const [length, stated] of [[context, rows[index]!.cacheBytesPerToken * context], [1000, rows[index]!.cacheBytesAt!.bytes]] as const) {
        const cache = model.createCache({ artifact, tailTokens: 64 });
        await model.forward(toyTokens(length), cache);
        expect(stated).toBeCloseTo(cache.bytes().total, 6);
      }
    }
  });

  it("puts the beginning-of-text token first when the tokenizer adds one", async () => {
    const report = await evaluateCaches(createToyModel({ bos: 0 }).model, { caches: [coarse], tokens, context, windows: 1, tails: [64] });
    const window = Int32Array.of(0, ...tokens.slice(0, context - 1));
    const expected = bruteForce(window, await distributions(window, { artifact: "fp16" }, context), await distributions(window, { artifact: coarse.artifact }, context));
    expect(report.protocol.beginningOfText).toBe(true);
    expect(report.rows[0]!.kldMean).toBeCloseTo(expected.kldMean, 6);
  });

  it("counts progress up to the total", async () => {
    const events: EvaluationProgress[] = [];
    await evaluateCaches(createToyModel().model, { caches: [fp16, coarse], tokens, context, windows: 2, tails: [0, 64], onProgress: (event) => events.push(event) });
    expect(events.map((event) => event.done)).toEqual(Array.from({ length: events[0]!.total }, (_, index) => index + 1));
    expect(new Set(events.map((event) => event.stage))).toEqual(new Set(["reference", "forward", "score"]));
    expect(events.at(-1)).toMatchObject({ window: 2, windows: 2, stage: "score" });
  });

  it("stops when the signal fires", async () => {
    const controller = new AbortController();
    const run = evaluateCaches(createToyModel().model, { caches: [coarse, fine], tokens, context, tails: [64], signal: controller.signal, onProgress: () => controller.abort() });
    await expect(run).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("refuses a short text, no caches, bad tails, and activations that are no numbers", async () => {
    const { model } = createToyModel();
    const base = { caches: [coarse], tokens, context };
    await expect(evaluateCaches(model, { ...base, tokens: tokens.slice(0, 199) })).rejects.toThrow(/at least 200 tokens.*got 199/);
    for (const wrong of [{ caches: [] }, { tails: [] }, { tails: [-1] }, { tails: [0.5] }, { windows: 0 }, { context: 1 }]) {
      await expect(evaluateCaches(model, { ...base, ...wrong })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    const broken = evaluateCaches(createToyModel({ brokenLayer: 1 }).model, base);
    await expect(broken).rejects.toMatchObject({ code: "CORRUPT_DATA", message: expect.stringMatching(/toy with the fp16 cache.*NaN at token 1, channel 3/) as string });
  });
});

describe("evaluateCaches with a reference folder", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "kvquant-eval-"));
  });
  afterEach(() => rm(folder, { recursive: true }));
  const evaluate = async (changes: { fingerprint?: string; windows?: number } = {}) => {
    const { model, calls } = createToyModel(changes.fingerprint === undefined ? {} : { fingerprint: changes.fingerprint });
    const notices: string[] = [];
    const report = await evaluateCaches(model, { caches: [fp16, coarse], tokens, context, windows: changes.windows ?? 2, referenceFolder: join(folder, "new"), onNotice: (notice) => notices.push(notice) });
    return { forwards: calls.forward, notices, report };
  };
  const figures = (run: Awaited<ReturnType<typeof evaluate>>) => run.report.rows.map(({ secondsPerWindow, ...rest }) => ({ ...rest, timed: secondsPerWindow > 0 }));

  it("runs the fp16 pass once and gives the same figures from disk", async () => {
    const first = await evaluate();
    const second = await evaluate();
    expect([first.forwards, second.forwards]).toEqual([4, 2]);
    expect(figures(second)).toEqual(figures(first));
    expect(second.report.rows[0]!.secondsPerWindow).toBe(first.report.rows[0]!.secondsPerWindow);
  });

  it("does not take another model's results", async () => {
    await evaluate();
    expect((await evaluate({ fingerprint: "other" })).forwards).toBe(4);
  });

  it("computes damaged results again and says so", async () => {
    const first = await evaluate({ windows: 1 });
    const files = (await readdir(join(folder, "new"))).map((name) => join(folder, "new", name));
    expect(files).toHaveLength(2);
    for (const file of files) {
      const bytes = await readFile(file);
      for (const damaged of [bytes.subarray(0, bytes.length / 2), Buffer.from(bytes).fill(bytes[50]! ^ 1, 50, 51)]) {
        await writeFile(file, damaged);
        const again = await evaluate({ windows: 1 });
        expect(again.notices).toEqual([expect.stringMatching(/damaged; computing them again/)]);
        expect(again.forwards).toBe(2);
        expect(figures(again)).toEqual(figures(first));
        expect((await evaluate({ windows: 1 })).notices).toEqual([]);
      }
    }
  });
});

describe("cacheBytesAt", () => {
  it("equals the bytes of a cache that was really filled, at every kind of length", async () => {
    const { model } = createToyModel();
    const measured = model.createCache({ artifact: coarse.artifact });
    await model.forward(toyTokens(300), measured);
    for (const tailTokens of [0, 1, 64, 100]) {
      for (const length of [1, 2, 64, 65, 66, 127, 128, 129, 130, 193, 317]) {
        const cache = model.createCache({ artifact: coarse.artifact, tailTokens });
        await model.forward(toyTokens(length), cache);
        expect([tailTokens, length, cacheBytesAt(measured, { tokens: length, tailTokens, sinkTokens: 1 })]).toEqual([tailTokens, length, cache.bytes().total]);
      }
    }
    expect(() => cacheBytesAt(measured, { tokens: -1, tailTokens: 0, sinkTokens: 0 })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
