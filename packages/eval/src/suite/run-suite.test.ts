import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { evaluateCaches } from "../evaluate-caches.js";
import { createToyModel, toyArtifact, toyTokens } from "../test-support/toy-model.js";
import { createCopyModel, forgettingArtifact } from "../test-support/copy-model.js";
import { runSuite } from "./run-suite.js";
import type { SuiteOptions, SuiteProgress } from "./suite-options.js";
import type { FidelityReport } from "./suite-report.js";

const fp16 = { name: "fp16", artifact: "fp16" as const };
const coarse = { name: "coarse", artifact: toyArtifact(0.5) };
const fine = { name: "fine", artifact: toyArtifact(0.1) };
const tokens = toyTokens(1700);

/** Everything but the seconds. */
function figures(report: FidelityReport): unknown {
  return JSON.parse(JSON.stringify(report, (name, value: unknown) => (name === "secondsPerWindow" ? 0 : value)));
}

describe("runSuite, windows", () => {
  const options: SuiteOptions = { parts: ["perplexity", "kld"], caches: [fp16, coarse, fine], tokens, lengths: [400, 200], windows: 4, tails: [0, 64] };

  it("gives the rows of evaluateCaches, shortest windows first, as many tokens at each length", async () => {
    const report = await runSuite(createToyModel().model, options);
    expect(report.windows.map(({ length, windows }) => [length, windows])).toEqual([[200, 4], [400, 2]]);
    for (const section of report.windows) {
      const evaluated = await evaluateCaches(createToyModel().model, { caches: [fp16, coarse, fine], tokens, context: section.length, windows: section.windows, tails: [0, 64] });
      expect(section.textFingerprint).toBe(evaluated.protocol.textFingerprint);
      expect(section.rows.map(({ cache, tail }) => [cache, tail])).toEqual([["fp16", undefined], ["coarse", 0], ["fine", 0], ["coarse", 64], ["fine", 64]]);
      for (const row of section.rows) {
        const { secondsPerWindow: _, tail: __, ...expected } = evaluated.rows.find(({ cache, tail }) => cache === row.cache && tail === (row.tail ?? 0))!;
        const { perplexity, deltaPerplexity, perplexityError, deltaPerplexityError, ...exact } = expected;
        expect(row).toMatchObject(exact);
        // Kept in float32, as the model gives them.
        expect(row.perplexity).toBeCloseTo(perplexity, 9);
        expect(row.deltaPerplexity).toBeCloseTo(deltaPerplexity, 9);
        expect(row.perplexityError).toBeCloseTo(perplexityError!, 9);
        expect(row.deltaPerplexityError).toBeCloseTo(deltaPerplexityError!, 9);
      }
    }
  });

  it("breaks figures down into groups that add up to the whole", async () => {
    const report = await runSuite(createToyModel().model, options);
    for (const row of report.windows[1]!.rows) {
      for (const groups of [row.byPosition, row.byDistance]) {
        expect(groups.reduce((sum, group) => sum + group.tokens, 0)).toBe(row.tokensScored);
        const mean = groups.reduce((sum, group) => sum + group.tokens * (group.kldMean ?? 0), 0) / row.tokensScored;
        expect(mean).toBeCloseTo(row.kldMean, 12);
        expect(groups.reduce((sum, group) => sum + group.tokens * (group.top1 ?? 0), 0) / row.tokensScored).toBeCloseTo(row.top1, 12);
      }
      const { intervals } = row;
      for (const name of ["perplexity", "deltaPerplexity", "kldMean", "kldMedian", "kld999", "top1"] as const) {
        expect(intervals[name]!.low).toBeLessThanOrEqual(row[name]);
        expect(intervals[name]!.high).toBeGreaterThanOrEqual(row[name]);
      }
    }
    const [exact, none, , tail] = report.windows[1]!.rows;
    expect(exact!.byPosition.map(({ compressedShare }) => compressedShare)).toEqual([0, 0, 0, 0]);
    // Without a tail all but the sink is compressed; with a tail of 64 the first page (tokens 1 to 64) closes at position 128.
    expect(none!.byPosition[0]!.compressedShare).toBeCloseTo(Array.from({ length: 64 }, (_, position) => position / (position + 1)).reduce((sum, share) => sum + share) / 64, 12);
    expect(tail!.byPosition.slice(0, 2).map(({ kldMean, compressedShare }) => [compressedShare, kldMean! < 1e-6])).toEqual([[0, true], [0, true]]);
    expect(tail!.byPosition[2]!.compressedShare).toBeGreaterThan(0.3);
    expect(tail!.byPosition[2]!.kldMean).toBeGreaterThan(1e-4);
  });

  it("runs fp16 as the reference when it was not asked for, and draws the front from compressed rows alone", async () => {
    const report = await runSuite(createToyModel().model, { ...options, caches: [coarse, fine], lengths: [200], tails: [64] });
    expect(report.windows[0]!.rows.map(({ cache }) => cache)).toEqual(["fp16", "coarse", "fine"]);
    expect(report.windows[0]!.rows[0]).toMatchObject({ kldMean: 0, top1: 1, deltaPerplexity: 0, bitsPerValue: 16 });
    expect(report.pareto.map(({ cache }) => cache)).toEqual(["fine"]); // Both take 8 bits.
  });
});

describe("runSuite, drift", () => {
  const drift = { prompts: 3, promptTokens: 200, tokens: 40 };

  /** Greedy continuation with plain calls, token by token; `forced` feeds these tokens instead. */
  async function continueBy(artifact: typeof coarse.artifact | "fp16", prompt: readonly number[], forced?: readonly number[]) {
    const { model } = createToyModel();
    const cache = model.createCache({ artifact, tailTokens: 64 });
    const width = model.config.width;
    let next = prompt;
    const chosen: number[] = [];
    const rows: number[][] = [];
    for (let step = 0; step < drift.tokens; step++) {
      const hidden = await model.forward(next, cache);
      const scores = [...(await model.logProbabilities(hidden.slice(hidden.length - width), 1))];
      rows.push(scores);
      chosen.push(scores.indexOf(Math.max(...scores)));
      next = [forced?.[step] ?? chosen.at(-1)!];
    }
    return { chosen, rows };
  }

  it("equals plain decoding: divergence along fp16's tokens, and tokens of its own", async () => {
    const report = await runSuite(createToyModel().model, { parts: ["drift"], caches: [coarse], tokens, drift });
    const [exact, row] = report.drift!.rows;
    expect(exact).toMatchObject({ cache: "fp16", kldMean: 0, top1: 1, identical: 3, freeAgreement: 1, equalTokens: 40, steps: 120 });
    let divergence = 0;
    let agreeing = 0;
    let equal = 0;
    let before = 0;
    for (const start of [0, 750, 1500]) {
      const prompt = [...tokens.slice(start, start + 200)];
      const reference = await continueBy("fp16", prompt);
      const forced = await continueBy(coarse.artifact, prompt, reference.chosen);
      const free = await continueBy(coarse.artifact, prompt);
      reference.rows.forEach((p, step) => (divergence += p.reduce((sum, value, index) => sum + Math.exp(value) * (value - forced.rows[step]![index]!), 0) / 120));
      agreeing += forced.chosen.filter((token, step) => token === reference.chosen[step]).length / 120;
      equal += free.chosen.filter((token, step) => token === reference.chosen[step]).length / 120;
      const differs = free.chosen.findIndex((token, step) => token !== reference.chosen[step]);
      before += (differs < 0 ? 40 : differs) / 3;
    }
    expect(row!.kldMean).toBeGreaterThan(1e-3);
    expect(row!.kldMean).toBeCloseTo(divergence, 6);
    expect(row!.top1).toBeCloseTo(agreeing, 12);
    expect(row!.freeAgreement).toBeCloseTo(equal, 12);
    expect(row!.equalTokens).toBeCloseTo(before, 12);
    expect(row!.freeAgreement).toBeLessThan(1);
    expect(row!.curve.map(({ from, to }) => [from, to])).toEqual([[0, 5], [5, 10], [10, 15], [15, 20], [20, 25], [25, 30], [30, 35], [35, 40]]);
    expect(row!.curve.reduce((sum, { kldMean }) => sum + kldMean / 8, 0)).toBeCloseTo(row!.kldMean, 12);
    expect(row!.curve.reduce((sum, { equal: share }) => sum + share / 8, 0)).toBeCloseTo(row!.freeAgreement, 12);
  });

  it("ends continuations where fp16 ends the text", async () => {
    const whole = await continueBy("fp16", [...tokens.slice(0, 200)]);
    const end = whole.chosen[10]!;
    const first = whole.chosen.indexOf(end);
    const report = await runSuite(createToyModel({ eos: [end] }).model, { parts: ["drift"], caches: [fp16], tokens, drift: { ...drift, prompts: 1 } });
    expect(report.drift!.rows[0]!.steps).toBe(first + 1);
  });
});

describe("runSuite with a unit folder", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "kvquant-suite-"));
  });
  afterEach(() => rm(folder, { recursive: true }));
  const everything: SuiteOptions = {
    parts: ["perplexity", "kld", "drift", "passkey", "needle"],
    caches: [fp16, coarse, fine],
    tokens,
    lengths: [360],
    windows: 2,
    tails: [0, 64],
    trials: 2,
    depths: [0.2, 0.8],
    drift: { prompts: 2, promptTokens: 100, tokens: 8 },
  };
  /** Cancels once `stopAfter` units are done. */
  async function attempt(changes: Partial<SuiteOptions> = {}, stopAfter = Infinity) {
    const { model, calls } = createToyModel();
    const controller = new AbortController();
    const notices: string[] = [];
    const events: SuiteProgress[] = [];
    let done = 0;
    const running = runSuite(model, {
      ...everything,
      unitFolder: folder,
      resume: true,
      ...changes,
      signal: controller.signal,
      onNotice: (notice) => notices.push(notice),
      onProgress(event) {
        if (event.done > (events.at(-1)?.done ?? 0) && ++done >= stopAfter) controller.abort();
        events.push(event);
      },
    });
    const report = await running.catch((error: unknown) => error as { code: string });
    return { report, notices, events, forwards: calls.forward };
  }
  const whole = async (): Promise<unknown> => figures(await runSuite(createToyModel().model, everything));

  it("continues a run that was stopped again and again, and says what an uninterrupted one says", async () => {
    const expected = await whole();
    for (const stopAfter of [1, 3, 7, 12, 18]) expect((await attempt({}, stopAfter)).report).toMatchObject({ code: "CANCELLED" });
    const last = await attempt();
    expect(figures(last.report as FidelityReport)).toEqual(expected);
    expect(last.notices).toEqual([expect.stringMatching(/^\d+ of 40 units were finished before$/)]);
    const again = await attempt();
    expect(again.forwards).toBe(0);
    expect(again.notices).toEqual(["40 of 40 units were finished before"]);
    expect(figures(again.report as FidelityReport)).toEqual(expected);
    expect(again.events.at(-1)!.done).toBe(again.events.at(-1)!.total);
  });

  it("computes everything again without resume", async () => {
    const first = await attempt();
    expect((await attempt({ resume: false })).forwards).toBe(first.forwards);
  });

  it("takes nothing of another artifact, model, text or tail, and keeps what more windows share", async () => {
    const parts: SuiteOptions["parts"] = ["kld"];
    const small: Partial<SuiteOptions> = { parts, lengths: [200], windows: 2, tails: [64], caches: [fp16, coarse] };
    const run = async (changes: Partial<SuiteOptions>) => (await attempt({ ...small, ...changes })).notices;
    expect(await run({})).toEqual([]);
    expect(await run({})).toEqual(["4 of 4 units were finished before"]);
    expect(await run({ caches: [{ name: "coarse", artifact: toyArtifact(0.25) }] })).toEqual(["2 of 4 units were finished before"]); // fp16's
    expect(await run({ tails: [7] })).toEqual(["2 of 4 units were finished before"]);
    expect(await run({ windows: 3 })).toEqual(["4 of 6 units were finished before"]);
    expect(await run({ tokens: toyTokens(900, 2) })).toEqual([]);
    const { model } = createToyModel({ fingerprint: "other" });
    const notices: string[] = [];
    await runSuite(model, { ...everything, ...small, unitFolder: folder, resume: true, onNotice: (notice) => notices.push(notice) });
    expect(notices).toEqual([]);
  });

  it("computes damaged units again, says so, and comes to the same report", async () => {
    const expected = await whole();
    await attempt();
    for (const part of ["windows", "drift", "passkey"]) {
      const path = join(folder, part, (await readdir(join(folder, part)))[0]!);
      const bytes = await readFile(path);
      await writeFile(path, bytes.subarray(0, bytes.length / 2));
    }
    const { report, notices } = await attempt();
    expect(notices).toEqual([...Array<unknown>(3).fill(expect.stringMatching(/is damaged; computing it again/)), "37 of 40 units were finished before"]);
    expect(figures(report as FidelityReport)).toEqual(expected);
  });

  it("counts progress up to the total without going back", async () => {
    const { events } = await attempt();
    for (let index = 1; index < events.length; index++) expect(events[index]!.done).toBeGreaterThanOrEqual(events[index - 1]!.done);
    expect(events.at(-1)!.done).toBe(events.at(-1)!.total);
    expect(new Set(events.map(({ part }) => part))).toEqual(new Set(["perplexity", "drift", "passkey", "needle"]));
  });
});

describe("runSuite, refusals", () => {
  const base: SuiteOptions = { parts: ["kld"], caches: [coarse], tokens, lengths: [200] };
  it.each<[string, Partial<SuiteOptions>, RegExp]>([
    ["an unknown part", { parts: ["speed" as "kld"] }, /suite: expected parts among perplexity, kld, .*"speed"/],
    ["no part", { parts: [] }, /suite: expected at least one/],
    ["no caches", { caches: [] }, /caches: expected at least one/],
    ["a length over the model's context", { lengths: [200, 5000] }, /at most 4096 tokens .* got 5000/],
    ["no trials", { parts: ["passkey"], trials: 0 }, /trials: expected an integer of at least 1, got 0/],
    ["a depth outside 0 to 1", { parts: ["passkey"], depths: [1.5] }, /depths: expected numbers from 0 to 1, got 1.5/],
    ["no text", { tokens: undefined, parts: ["passkey", "kld", "drift"] }, /kld, drift: expected a text/],
    ["a text shorter than a window", { lengths: [2000] }, /at least 2000 tokens.*got 1700/],
    ["a prompt without room", { parts: ["passkey"], lengths: [50] }, /passkey: length: expected room/],
    ["a drift beyond the context", { parts: ["drift"], drift: { promptTokens: 4090, tokens: 10 } }, /at most 4096 tokens .* got 4100/],
    ["a text shorter than a drift prompt", { parts: ["drift"], drift: { promptTokens: 1701, tokens: 10 } }, /at least 1701 tokens for a drift prompt, got 1700/],
  ])("refuses %s before any work", async (_name, changes, message) => {
    const { model, calls } = createToyModel();
    await expect(runSuite(model, { ...base, ...changes })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) as string });
    expect(calls.forward).toBe(0);
  });

  it("refuses activations that are no numbers", async () => {
    const { model } = createToyModel({ brokenLayer: 1 });
    for (const part of ["kld", "drift"] as const) await expect(runSuite(model, { ...base, parts: [part], drift: { promptTokens: 2, tokens: 2 } })).rejects.toMatchObject({ code: "CORRUPT_DATA" });
  });

  it("needs no text for passkey and multikey", async () => {
    const report = await runSuite(createCopyModel().model, { parts: ["passkey", "multikey"], caches: [{ name: "a", artifact: forgettingArtifact(9) }], lengths: [900], trials: 1 });
    expect(report.retrieval.map(({ part }) => part)).toEqual(["passkey", "multikey"]);
    expect(report).toMatchObject({ windows: [], layers: [], drift: undefined, pareto: [] });
  });
});
