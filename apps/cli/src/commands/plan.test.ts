/** `kvquant plan` on the embedded model, through the whole program. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeArtifact } from "@kvquant/quant";
import { describe, expect, it } from "vitest";
import { runJson } from "../fixtures/run-command.js";
import { useCacheFolder } from "../fixtures/temporary-folder.js";

const folder = useCacheFolder();

const calibration = ["--sequences", "1", "--length", "600", "--sensitivity", "fisher"];
const plan = (name: string, ...more: string[]) => runJson(["plan", "tiny", ...calibration, "--window", "320", "-o", join(folder, name), ...more]);

describe("kvquant plan", { timeout: 120_000 }, () => {
  it("keeps to the bits, runs the plan, and writes an artifact that eval uses unchanged", async () => {
    const { code, document } = await plan("three.kvq", "--bits", "3", "--context", "256k", "--report", join(folder, "three.html"));
    expect(code).toBe(0);
    expect(document.plan).toHaveLength(8);
    expect(document.plan.slice(0, 2).map(({ layer, side }: { layer: number; side: string }) => [layer, side])).toEqual([[0, "key"], [0, "value"]]);
    expect(document.bitsPerValue).toBeLessThanOrEqual(3);
    expect(document.bitsPerValue).toBeGreaterThan(2.7);
    // One held-out page predicts the order of magnitude.
    expect(document.measuredKld / document.predictedKld).toBeGreaterThan(0.2);
    expect(document.measuredKld / document.predictedKld).toBeLessThan(5);
    expect(document.measuredKldTail).toBeLessThan(document.measuredKld);
    expect(document.context).toBe(262_144);
    // 16 bits would take 2 x 2 bytes x 2 heads x 64 channels x 4 layers a token.
    expect(document.cacheBytes / (262_144 * 2 * 2 * 2 * 64 * 4)).toBeCloseTo(document.bitsPerValue / 16, 2);
    const bits = document.pareto.map((point: { bitsPerValue: number }) => point.bitsPerValue);
    expect(bits).toEqual([...bits].sort((a, b) => a - b));
    expect(readFileSync(join(folder, "three.html"), "utf8")).toContain("<svg");

    const artifact = decodeArtifact(readFileSync(join(folder, "three.kvq")));
    expect(artifact.plan!.options.flatMap(({ key, value }) => [key, value])).toEqual(document.plan.map(({ option }: { option: string }) => option));
    expect(artifact.plan!.measuredKld).toBe(document.measuredKld);
    const evaluated = await runJson(["eval", "tiny", ...calibration, "--caches", `kvq:3,${join(folder, "three.kvq")}`, "--context", "320", "--windows", "1", "--tail", "0"]);
    expect(evaluated.stderr).toContain("pricing tiny: kept from earlier");
    expect(evaluated.document.rows.map(({ kldMean }: { kldMean: number }) => kldMean)).toEqual([document.measuredKld, document.measuredKld]);
  });

  it("meets a divergence as measured, showing each round", async () => {
    const loose = await plan("loose.kvq", "--bits", "3.5");
    const bound = 0.8 * loose.document.measuredKld;
    const { code, document, stderr } = await plan("met.kvq", "--max-kld", String(bound));
    expect(code).toBe(0);
    expect(document.measuredKld).toBeLessThanOrEqual(bound);
    expect(document.rounds.at(-1)).toMatchObject({ bitsPerValue: document.bitsPerValue, measuredKld: document.measuredKld });
    expect(stderr.match(/measured/g)).toHaveLength(document.rounds.length);
  });

  it("fits a memory without running the plan when told so", async () => {
    const { code, document } = await plan("memory.kvq", "--memory", "3MiB", "--context", "8k", "--no-verify");
    expect(code).toBe(0);
    expect(document.cacheBytes).toBeLessThanOrEqual(3 * 2 ** 20);
    expect(document.cacheBytes).toBeGreaterThan(2.9 * 2 ** 20);
    expect(document.measuredKld).toBeNull();
    expect(decodeArtifact(readFileSync(join(folder, "memory.kvq"))).plan).not.toHaveProperty("measuredKld");
  });

  it("says what can be had when no plan keeps the bounds", async () => {
    const { code, document } = await plan("none.kvq", "--bits", "1.9");
    expect([code, document.error.code]).toEqual([1, "INVALID_ARGUMENT"]);
    expect(document.error.message).toMatch(/the smallest plan has 2\.\d+ bits a value/);
  });

  it.each([["--memory", "24"], ["--context", "ten"], ["--max-kld", "0"], ["--bits", "x"]])("refuses %s %s as bad usage", async (option, value) => {
    const { code, document } = await plan("none.kvq", option, value);
    expect([code, document.error.code]).toEqual([2, "INVALID_ARGUMENT"]);
  });

  it("needs gradients, and says how to get them", async () => {
    const { code, document } = await runJson(["plan", "tiny", "--sequences", "1", "--length", "600", "--sensitivity", "attention", "--no-verify"]);
    expect([code, document.error.code]).toEqual([1, "UNSUPPORTED"]);
    expect(document.error.message).toContain("--sensitivity fisher");
  });

  it("stops when interrupted, with exit code 130", async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const { code, document } = await runJson(["plan", "tiny", "--sequences", "1", "--length", "700", "-o", join(folder, "stopped.kvq")], controller.signal);
    expect([code, document.error.code]).toEqual([130, "CANCELLED"]);
  });
});
