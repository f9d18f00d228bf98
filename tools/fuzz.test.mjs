import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { instrument } from "./fuzz/instrument.mjs";
import { installHooks } from "./fuzz/coverage.mjs";
import { runFuzzer, targets } from "./fuzz/run.mjs";

describe("instrumented code", () => {
  it("does what it did, and reports what it reached and compared", async () => {
    const program = `
      export const answer = (x, y) => x > 3 ? "big" : x === 2 ? "two" /* comment
        over lines */ : (y ?? "none");
      export function count(limit) { let sum = 0; for (let i = 0; i < limit; i++) sum += i; if (sum) return sum; else return "zero"; }
      export class Box { #value = 1; has(other) { switch (other) { case 1: return true; default: return #value in this && other !== undefined } } }
      export async function* numbers() { for await (const n of [1, 2]) if (n == 2) yield n; }
    `;
    const { text, counters } = instrument(program);
    const coverage = installHooks(counters);
    const plain = await import(`data:text/javascript,${encodeURIComponent(program)}`);
    const changed = await import(`data:text/javascript,${encodeURIComponent(text)}`);
    for (const module of [plain, changed]) {
      expect([module.answer(4), module.answer(2), module.answer(1), module.answer(1, 5)]).toEqual(["big", "two", "none", 5]);
      expect([module.count(4), module.count(0), new module.Box().has(1), new module.Box().has(2)]).toEqual([6, "zero", true, true]);
      expect((await module.numbers().next()).value).toBe(2);
    }
    coverage.reset();
    changed.answer(4);
    coverage.takeNew();
    coverage.reset();
    changed.answer(77);
    expect(coverage.pairs()).toEqual([[77, 3]]);
    expect(coverage.takeNew()).toBe(0);
    changed.count(200);
    expect(coverage.takeNew()).toBeGreaterThan(0);
  });
});

describe("the fuzzer", () => {
  it("finds a defect behind three comparisons, and keeps the input", { timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "kvquant-fuzz-test-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const result = await runFuzzer("../defect", { runs: 2_000_000, folder });
    expect(result.finding).toMatch(/expected to be found/);
    const path = /input: (\S+)/.exec(result.finding ?? "")?.[1] ?? "";
    const input = readFileSync(path);
    expect([input.toString("latin1", 0, 3), input.readUInt32LE(8)]).toEqual(["KV\x07", 123_456_789]);
  });
});

describe("every parser", () => {
  it.each(targets)("%s refuses what it cannot read, and nothing else happens", { timeout: 120_000 }, async (target) => {
    const { finding, executions, reached } = await runFuzzer(target, { seconds: 1, runs: 20_000 });
    expect(finding).toBeUndefined();
    expect(executions).toBeGreaterThan(0);
    expect(reached).toBeGreaterThan(5);
  });
});
