import { describe, expect, it } from "vitest";
import { COPY_PROBABILITY, createCopyModel, forgettingArtifact } from "../test-support/copy-model.js";
import { multikeyTask } from "./multikey-task.js";
import { needleTask } from "./needle-task.js";
import { passkeyTask } from "./passkey-task.js";
import { trialRandom } from "./retrieval-task.js";
import { runSuite } from "./run-suite.js";

const { model } = createCopyModel();
const request = (depth: number, length = 900, trial = 0) => ({ length, depth, random: trialRandom(0, "test", length, trial) });
const decode = (tokens: ArrayLike<number>): string => model.tokenizer.decode(tokens);

describe("passkeyTask", () => {
  it("writes the published format and fills the length up to one copy of the noise", () => {
    for (const depth of [0, 0.3, 1]) {
      const { prompt, answer, expected, maxTokens } = passkeyTask.createTrial(model, request(depth));
      const text = decode(prompt);
      expect(prompt[0]).toBe(1);
      expect(text).toMatch(/^.There is an important info hidden inside a lot of irrelevant text\. Find it and memorize them\. I will quiz you about the important information there\.\n/);
      expect(text).toContain(`\nThe pass key is ${expected}. Remember it. ${expected} is the pass key.\n`);
      expect(text.endsWith("\nWhat is the pass key? The pass key is")).toBe(true);
      expect(decode(answer)).toBe(` ${expected}`);
      const copies = text.split("The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.").length - 1;
      expect(text.indexOf("The pass key") < text.indexOf("The grass")).toBe(depth === 0);
      expect(copies).toBeGreaterThan(3);
      expect(prompt.length + maxTokens).toBeLessThanOrEqual(900);
      expect(prompt.length + maxTokens).toBeGreaterThan(900 - 90);
    }
  });

  it("judges the first number written", () => {
    const { expected, passes, isDecided } = passkeyTask.createTrial(model, request(0.5));
    expect([passes(` ${expected}.`), passes(` number ${expected}`), passes(` 1${expected}`), passes(` 0. ${expected}`), passes("")]).toEqual([true, true, false, false, false]);
    expect([isDecided(` ${expected}`), isDecided(` ${expected}.`)]).toEqual([false, true]);
  });

  it("gives the same trial for the same seed, and different keys for others", () => {
    const keys = Array.from({ length: 20 }, (_, trial) => passkeyTask.createTrial(model, request(0.5, 900, trial)).expected);
    expect(new Set(keys).size).toBeGreaterThan(18);
    expect(passkeyTask.createTrial(model, request(0.5)).expected).toBe(keys[0]);
    for (const key of keys) expect(Number(key) >= 1 && Number(key) <= 50_000).toBe(true);
  });

  it("refuses a length without room for its sentences", () => {
    expect(() => passkeyTask.createTrial(model, request(0.5, 100))).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/passkey: length/) as string }));
  });
});

describe("needleTask", () => {
  const text = model.tokenizer.encode("One sentence here. Another one there. And a third of them. ", { addSpecial: false });

  it("puts the needle after a full stop before its depth, in a prompt of just the length", () => {
    for (const depth of [0, 0.5, 1]) {
      const { prompt, maxTokens } = needleTask(text).createTrial(model, request(depth, 600));
      const written = decode(prompt);
      const [before, after] = written.slice(1).split("\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.\n");
      expect(prompt.length + maxTokens).toBe(600);
      if (depth === 0) expect(before).toBe("");
      if (depth === 0.5) expect(before!.endsWith(".")).toBe(true);
      const haystack = before!.length + after!.indexOf("\n\nQuestion");
      expect(before!.length / haystack).toBeLessThanOrEqual(depth);
      expect(before!.length / haystack).toBeGreaterThan(depth - 0.1);
      expect(written.endsWith("\n\nQuestion: What is the best thing to do in San Francisco?\nAnswer: The best thing to do in San Francisco is")).toBe(true);
    }
  });

  it("wants both halves of the answer", () => {
    const { passes, isDecided } = needleTask(text).createTrial(model, request(0.5, 600));
    expect([passes(" eat a sandwich in Dolores Park"), passes(" eat a sandwich"), passes(" sit in Dolores Park")]).toEqual([true, false, false]);
    expect([isDecided(" eat a sandwich"), isDecided(" walk.\n")]).toEqual([false, true]);
  });
});

describe("multikeyTask", () => {
  it("hides four numbers and asks for one of them, which stands at its depth", () => {
    for (const depth of [0, 0.5, 1]) {
      const { prompt, answer, expected, maxTokens } = multikeyTask.createTrial(model, request(depth, 1800));
      const text = decode(prompt);
      const needles = [...text.matchAll(/\nOne of the special magic numbers for (\w+-\w+) is: (\d{7})\.\n/g)].map((match) => ({ key: match[1]!, value: match[2]!, at: match.index }));
      const asked = /What is the special magic number for (\S+) mentioned in the provided text\? The special magic number for (\S+) mentioned in the provided text is:$/.exec(text);
      // Neighbouring needles share a line break, which the pattern takes once.
      expect(text.match(/One of the special magic numbers for/g)).toHaveLength(4);
      expect(asked![1]).toBe(asked![2]);
      expect(text).toContain(`for ${asked![1]!} is: ${expected}.`);
      expect(new Set(needles.map(({ key }) => key)).size).toBe(needles.length);
      expect(decode(answer)).toBe(` ${expected}`);
      expect(prompt.length + maxTokens).toBeLessThanOrEqual(1800);
      const place = text.indexOf(`for ${asked![1]!} is:`) / text.length;
      expect(Math.abs(place - depth)).toBeLessThan(0.3);
    }
  });
});

describe("runSuite, passkey", () => {
  const caches = [
    { name: "fp16", artifact: "fp16" as const },
    { name: "all", artifact: forgettingArtifact(10_000) },
    { name: "half", artifact: forgettingArtifact(450) },
  ];
  const depths = [0.1, 0.3, 0.7, 0.9];

  it("passes with a cache that keeps the key and fails with one that forgot it, depth by depth", async () => {
    const report = await runSuite(model, { parts: ["passkey"], caches, lengths: [900], trials: 8, depths });
    const [section] = report.retrieval;
    expect(section).toMatchObject({ part: "passkey", length: 900, conclusive: true });
    const [exact, all, half] = section!.rows;
    expect(exact).toMatchObject({ cache: "fp16", tail: undefined, trials: 8, passed: 8, share: 1 });
    expect(all).toMatchObject({ cache: "all", tail: 64, passed: 8, logProbabilityChange: 0, logProbabilityChangeError: 0 });
    expect(half!.byDepth).toMatchObject(depths.map((depth) => ({ depth, trials: 2, passed: depth < 0.5 ? 0 : 2 })));
    expect(half!.interval.low).toBeCloseTo(0.2152, 4); // Wilson at 4 of 8: 0.5 -+ 0.28475
    expect(half!.logProbabilityChange).toBeLessThan(-1);
  });

  it("scores the right answer by what the model says of each of its characters", async () => {
    const report = await runSuite(model, { parts: ["passkey"], caches: [caches[0]!], lengths: [900], trials: 1, depths: [0.5] });
    const { answer } = passkeyTask.createTrial(model, { length: 900, depth: 0.5, random: trialRandom(0, "passkey", 900, 0) });
    expect(report.retrieval[0]!.rows[0]!.logProbability).toBeCloseTo(answer.length * Math.log(COPY_PROBABILITY), 5);
  });

  it("marks lengths at which fp16 itself fails", async () => {
    const sieve = createCopyModel();
    const forgetful = { ...sieve.model, createCache: () => sieve.model.createCache({ artifact: forgettingArtifact(100) }) };
    const report = await runSuite(forgetful, { parts: ["passkey"], caches, lengths: [900], trials: 4, depths });
    expect(report.retrieval[0]).toMatchObject({ conclusive: false });
    expect(report.retrieval[0]!.rows[0]!.passed).toBe(0);
  });

  it("finds a needle in the text, and writes both halves of the answer", async () => {
    const tokens = model.tokenizer.encode("A quiet morning by the sea. Boats left the port. Nobody was in a hurry. ", { addSpecial: false });
    // 24 tokens are 24 characters here, too few for the whole answer: the task makes room for it.
    const report = await runSuite(model, { parts: ["needle"], caches, tokens, lengths: [700], trials: 2, depths: [0.2, 0.8] });
    expect(report.retrieval[0]!.rows.map(({ cache, passed }) => [cache, passed])).toEqual([["fp16", 2], ["all", 2], ["half", 1]]);
  });
});
