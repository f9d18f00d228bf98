/** The fidelity suite on the embedded model, through the whole program. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { FidelityReport } from "@kvquant/eval";
import { runText } from "../fixtures/run-command.js";
import { useCacheFolder } from "../fixtures/temporary-folder.js";

const folder = useCacheFolder();

const common = ["eval", "tiny", "--sequences", "1", "--length", "512", "--caches", "kvq3,nuq2-1%", "--windows", "1", "--depths", "0.2,0.8"];
const drift = ["--drift-prompts", "1", "--drift-prompt-tokens", "140", "--drift-tokens", "8"];
const everything = [...common, ...drift, "--suite", "all", "--lengths", "640", "--trials", "2", "--tail", "0,64"];

/** Everything but the seconds. */
function figures(text: string): unknown {
  return JSON.parse(text, (name, value: unknown) => (name === "secondsPerWindow" ? 0 : value));
}

describe("kvquant eval --suite", () => {
  it("writes a report that it also prints, stops when interrupted, and goes on with --resume to the same figures", { timeout: 300_000 }, async () => {
    const stopped = join(folder, "stopped");
    const controller = new AbortController();
    const watch = setInterval(() => {
      if (existsSync(join(stopped, "units", "drift"))) controller.abort();
    }, 5);
    const interrupted = await runText([...everything, "--report", stopped, "--resume"], controller.signal);
    clearInterval(watch);
    expect(interrupted.code).toBe(130);
    expect(interrupted.stderr).toContain(`is kept in ${stopped}; the same command with --resume goes on from there`);
    expect(existsSync(join(stopped, "report.json"))).toBe(false);

    const resumed = await runText([...everything, "--report", stopped, "--resume", "--json"]);
    expect(resumed.code).toBe(0);
    expect(resumed.stderr).toMatch(/[1-9]\d* of 42 units were finished before/);
    const whole = await runText([...everything, "--report", join(folder, "whole"), "--json"]);
    expect(whole.code).toBe(0);
    expect(whole.stderr).not.toContain("finished before");
    expect(figures(resumed.stdout)).toEqual(figures(whole.stdout));
    expect(JSON.parse(readFileSync(join(stopped, "report.json"), "utf8"))).toEqual(JSON.parse(resumed.stdout));

    const report = JSON.parse(whole.stdout) as FidelityReport;
    expect(report).toMatchObject({ schema: "kvquant/fidelity-report", version: 1, model: { name: "tiny" }, protocol: { tails: [0, 64], parts: ["perplexity", "kld", "layers", "drift", "passkey", "needle", "multikey"] } });
    const [exact, kvq3, nuq2] = report.windows[0]!.rows;
    expect(exact).toMatchObject({ cache: "fp16", tail: null, kldMean: 0, top1: 1, bitsPerValue: 16 });
    expect(kvq3!.kldMean).toBeLessThan(nuq2!.kldMean);
    expect(report.layers.map(({ cache, layers }) => [cache, layers.length])).toEqual([["kvq3", report.model.layers], ["nuq2-1%", report.model.layers]]);
    for (const [three, two] of report.layers[0]!.layers.map((layer, index) => [layer, report.layers[1]!.layers[index]!] as const)) expect(three.value).toBeLessThan(two.value);
    expect(report.drift!.rows.map(({ cache, tail }) => [cache, tail])).toEqual([["fp16", null], ["kvq3", 0], ["nuq2-1%", 0], ["kvq3", 64], ["nuq2-1%", 64]]);
    expect(report.retrieval.map(({ part, length }) => [part, length])).toEqual([["passkey", 640], ["needle", 640], ["multikey", 640]]);
    for (const { rows } of report.retrieval) for (const row of rows) expect(row.logProbability).toBeLessThan(0);
    const page = readFileSync(join(stopped, "report.html"), "utf8");
    expect(page).toContain("KV cache fidelity of tiny");
    expect(page).not.toMatch(/https?:|<script/);
  });

  it("prints tables for people", async () => {
    const { code, stdout } = await runText([...common, "--suite", "kld,passkey", "--lengths", "320", "--trials", "1"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^tiny on native-\S+; every row against the fp16 cache of the same engine/);
    for (const heading of ["Windows: 1 x 320 tokens", "KL mean by place in the window", "KL mean by distance", "Passkey, 320 tokens"]) expect(stdout).toContain(heading);
    expect(stdout).not.toContain("Drift");
  });

  it("runs on the fp32 reference engine, close to the native one", { timeout: 300_000 }, async () => {
    const rows = async (engine: string) => {
      const { code, stdout } = await runText([...common, ...drift, "--suite", "kld,drift", "--lengths", "320", "--engine", engine, "--json"]);
      expect(code).toBe(0);
      return JSON.parse(stdout) as FidelityReport;
    };
    const [reference, native] = [await rows("reference"), await rows("native")];
    expect(reference.model.engine).toBe("reference-fp32");
    for (const [index, row] of reference.windows[0]!.rows.entries()) {
      const other = native.windows[0]!.rows[index]!;
      expect(row.cache).toBe(other.cache);
      expect(Math.abs(row.kldMean - other.kldMean)).toBeLessThanOrEqual(0.05 * row.kldMean + 1e-6);
    }
    expect(reference.drift!.rows[0]).toMatchObject({ cache: "fp16", kldMean: 0, identical: 1 });
  });

  it.each<[string, readonly string[], RegExp]>([
    ["an unknown part", ["--suite", "kld,speed"], /Expected parts among perplexity, kld, .* got "speed"/],
    ["no trials", ["--suite", "passkey", "--trials", "0"], /integer of at least 1/],
    ["a depth above 1", ["--suite", "passkey", "--depths", "0.5,2"], /at most 1/],
    ["a report without a suite", ["--report", "out"], /--report: expected with --suite/],
    ["trials without a suite", ["--trials", "3"], /--trials: expected with --suite/],
    ["drift tokens without a suite", ["--drift-tokens", "3"], /--drift-tokens: expected with --suite/],
    ["resume without a report", ["--suite", "kld", "--resume"], /--resume: expected with --report/],
    ["a context beside the suite's lengths", ["--suite", "kld", "--context", "320"], /--context: expected without --suite/],
  ])("refuses %s as bad usage", async (_name, argv, message) => {
    const { code, stderr } = await runText(["eval", "tiny", ...argv]);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });

  it.each<[string, readonly string[], string]>([
    ["a length over the model's context", ["--suite", "kld,passkey", "--lengths", "320,4096"], "INVALID_ARGUMENT: context: expected at most 2048 tokens"],
    ["a length without room for a prompt", ["--suite", "passkey", "--lengths", "40"], "INVALID_ARGUMENT: passkey: length: expected room for"],
    ["a text that is not there", ["--suite", "kld", "--data", "none.txt"], "IO_ERROR: text"],
  ])("refuses %s", async (_name, argv, message) => {
    const { code, stderr } = await runText([...common, "--caches", "fp16", ...argv]);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  });

  it("asks for a text where none ships, and only for the parts that need one", async () => {
    const stories = fileURLToPath(new URL("../../../../packages/model/fixtures/stories260k", import.meta.url));
    const argv = ["eval", stories, "--caches", "fp16", "--attention", "tiles", "--lengths", "400", "--trials", "1"];
    const without = await runText([...argv, "--suite", "needle"]);
    expect([without.code, without.stderr]).toEqual([1, expect.stringContaining("--data: expected a text file")]);
    expect((await runText([...argv, "--suite", "passkey"])).code).toBe(0);
  });
});
