/** Every benchmark at sizes that take seconds: arguments, and the shape of the documents. The figures themselves mean nothing here. */

import { backendInfo } from "@kvquant/cpu";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { runJson, runText } from "../fixtures/run-command.js";
import { useCacheFolder } from "../fixtures/temporary-folder.js";

useCacheFolder();

const runBench = (argv: readonly string[]) => runText(["bench", ...argv]);
const runBenchJson = (argv: readonly string[], signal?: AbortSignal) => runJson(["bench", ...argv], signal);

/** The worked example of a quantizer of one's own. */
const example = fileURLToPath(new URL("../../../examples/custom-quantizer/quantizer.mjs", import.meta.url));

describe("kvquant bench", () => {
  it.each(["attention", "capacity", "model", "encode", "memory", "cuda"])("%s has help that names its options, on standard output with exit code 0", async (name) => {
    const { code, stdout, stderr } = await runBench([name, "--help"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain(`Usage: kvquant bench ${name}`);
    expect(stdout).toContain("--json");
  });

  it.each([
    ["no benchmark", []],
    ["an unknown benchmark", ["gpu"]],
    ["an argument too many", ["encode", "smollm2"]],
    ["a head dim that is none", ["attention", "--head-dims", "64,wide"]],
    ["a length below a few pages", ["attention", "--tokens", "100"]],
    ["no threads", ["attention", "--threads", "0"]],
    ["an unknown preset", ["attention", "--caches", "fp16,kvq9"]],
    ["a preset given twice", ["attention", "--caches", "kvq3,kvq3"]],
    ["an artifact without a model", ["encode", "--caches", "out.kvq"]],
    ["neither a model nor a shape", ["model"]],
    ["a model and a shape", ["model", "tiny", "--random", "smollm2"]],
    ["an unknown shape", ["model", "--random", "gpt-9"]],
    ["the peer beside random weights", ["model", "--random", "smollm2", "--peer"]],
    ["prompts beside random weights", ["model", "--random", "smollm2", "--prefill", "512"]],
    ["an empty batch", ["model", "tiny", "--batch", "0"]],
    ["two caches for one", ["memory", "--cache", "kvq2,kvq3"]],
    ["an unknown shape of memory", ["memory", "--shape", "huge"]],
  ])("answers %s with exit code 2 and a message", async (_name, argv) => {
    const { code, stdout, stderr } = await runBench(argv);
    expect(code).toBe(2);
    expect(stderr).not.toBe("");
    expect(stdout).toBe("");
  });
});

const { available, cpu, isa } = backendInfo();

describe.skipIf(available)("kvquant bench without the native backend", () => {
  it("says that it has nothing to measure, and why", async () => {
    const { code, document } = await runBenchJson(["encode"]);
    expect([code, document.error.code]).toEqual([1, "NATIVE_UNAVAILABLE"]);
  });
});

describe.skipIf(!available)("kvquant bench (skipped without the native backend)", () => {
  it("attention prints a checked row for every size, number of threads and cache, fp16 first", async () => {
    const { code, document } = await runBenchJson(["attention", "--head-dims", "64", "--groups", "1,3", "--tokens", "256", "--threads", "1,2", "--caches", "kvq2,nuq3", "--repeats", "2", "--working-set", "1"]);
    expect(code).toBe(0);
    expect(Object.keys(document)).toEqual(["cpu", "isa", "readBandwidth", "rows"]);
    expect(document).toMatchObject({ cpu, isa, readBandwidth: { 1: expect.any(Number), 2: expect.any(Number) } });
    expect(document.rows.map((row: { group: number; threads: number; cache: string }) => `${row.group} ${row.threads} ${row.cache}`)).toEqual(
      [1, 3].flatMap((group) => [1, 2].flatMap((threads) => ["fp16", "kvq2", "nuq3"].map((cache) => `${group} ${threads} ${cache}`))),
    );
    for (const row of document.rows) {
      expect(Object.keys(row)).toEqual(["headDim", "group", "tokens", "threads", "cache", "nanosecondsPerTokenHead", "ratioToFp16", "gigabytesPerSecond", "maxError"]);
      expect(row.maxError).toBeGreaterThan(0);
      expect(row.maxError).toBeLessThan(1e-2);
      expect(row.nanosecondsPerTokenHead).toBeGreaterThan(0);
      if (row.cache === "fp16") expect(row.ratioToFp16).toBe(1);
    }
  });

  it("encode prints the time of each side for both head dims", async () => {
    const { code, document } = await runBenchJson(["encode", "--caches", "kvq2,nuq3-1%,mean-residual", "--quantizer", example, "--repeats", "1"]);
    expect(code).toBe(0);
    const caches = [["kvq2", "native"], ["nuq3-1%", "native"], ["mean-residual", "typescript"]];
    expect(document.rows.map((row: { headDim: number; cache: string; code: string }) => [row.headDim, row.cache, row.code])).toEqual([64, 128].flatMap((headDim) => caches.map((cache) => [headDim, ...cache])));
    for (const row of document.rows) expect(row.microsecondsPerToken).toBeCloseTo(row.keyMicroseconds + row.valueMicroseconds, 9);
  });

  it("memory agrees with the format on closed pages, and projects a layer to its model", async () => {
    const { code, document } = await runBenchJson(["memory", "--tokens", "2000", "--cache", "kvq3", "--shape", "llama-7b-layer"]);
    expect(code).toBe(0);
    // 30 pages of 64 tokens: codes, key scales and zeros, and one fp16 number a token for the values.
    expect(document.formulaBytes).toBe(30 * (32 * (64 * 48 + 256) + 32 * 64 * 48 + 128));
    expect(document.allocatedBytes).toBeGreaterThan(document.formulaBytes);
    expect(document.bitsPerValue).toBeCloseTo((document.formulaBytes * 8) / (30 * 64 * 2 * 4096), 9);
    expect(document.projectedModelBytes).toBe(document.allocatedBytes * 32 + 13.5e9);
    for (const field of ["residentBytes", "fillSeconds", "decodeMilliseconds"]) expect(document[field]).toEqual(expect.any(Number));
  });

  it.each([
    [["memory", "--tokens", "10000000000", "--cache", "fp16"], /ask for fewer --tokens/],
    [["model", "tiny", "--caches", "fp16", "--depths", "10000000000", "--threads", "1"], /ask for fewer --caches or --depths/],
    [["model", "--random", "smollm2", "--caches", "fp16", "--depths", "10000000000", "--threads", "1"], /ask for fewer --caches or --depths/],
  ])("refuses what the machine cannot hold: %j", async (argv, remedy) => {
    const { code, document } = await runBenchJson(argv);
    expect([code, document.error.code]).toEqual([1, "OUT_OF_CAPACITY"]);
    expect(document.error.message).toMatch(/expected .* of free memory, got /);
    expect(document.error.message).toMatch(remedy);
  });

  it("model prints decode rows for each depth, cache and batch, and rows of prompts", { timeout: 300_000 }, async () => {
    const argv = ["model", "tiny", "--caches", "fp16,kvq3", "--depths", "200,80", "--threads", "1", "--prefill", "96", "--batch", "2", "--steps", "2", "--rounds", "1", "--sequences", "1", "--length", "256"];
    const { code, document } = await runBenchJson(argv);
    expect(code).toBe(0);
    expect(Object.keys(document)).toEqual(["cpu", "isa", "model", "rows"]);
    expect(document.rows.map((row: { cache: string; depth: number; batch: number }) => `${row.cache} ${row.depth} x ${row.batch}`)).toEqual(
      ["96 x 1", "80 x 1", "80 x 2", "200 x 1", "200 x 2"].flatMap((place) => ["fp16", "kvq3"].map((cache) => `${cache} ${place}`)),
    );
    for (const row of document.rows) {
      expect(Object.keys(row).sort()).toEqual(["attentionShare", "batch", "cache", "cacheBytes", "decodeTokensPerSecond", "depth", "engine", "prefillTokensPerSecond", "residentBytes", "threads"]);
      expect(row.engine).toBe(`native-${isa}`);
      expect(row.prefillTokensPerSecond).toBeGreaterThan(0);
      expect(row.cacheBytes).toBeGreaterThan(0);
      expect(row.residentBytes).toBeGreaterThan(row.cacheBytes);
      if (row.depth === 96) expect(row.decodeTokensPerSecond).toBeNull();
      else expect(row.decodeTokensPerSecond).toBeGreaterThan(0);
    }
  });

  it("model decodes from random weights without reading anything", { timeout: 300_000 }, async () => {
    const { code, document } = await runBenchJson(["model", "--random", "smollm2", "--caches", "fp16,kvq2", "--depths", "192", "--threads", "2", "--steps", "1", "--rounds", "1"]);
    expect(code).toBe(0);
    expect(document.rows).toMatchObject([
      { cache: "fp16", depth: 192, threads: 2, batch: 1, decodeTokensPerSecond: expect.any(Number), prefillTokensPerSecond: null },
      { cache: "kvq2", depth: 192, threads: 2, batch: 1, decodeTokensPerSecond: expect.any(Number), prefillTokensPerSecond: null },
    ]);
  });

  it("capacity counts sequences up to what the memory holds, and says where it cannot tell", async () => {
    const argv = ["capacity", "tiny", "--tokens", "256", "--threads", "1", "--caches", "fp16"];
    const bytesOfToken = 4 * 2 * 64 * 2 * 2; // layers, KV heads, head dim, keys and values, fp16
    for (const mebibytes of [3, 6]) {
      const { code, document } = await runBenchJson([...argv, "--memory", String(mebibytes)]);
      const { sequences, shortest, cacheBytes, isLeast } = document.rows[0];
      expect([code, isLeast]).toEqual([0, false]);
      expect(sequences * 256 * bytesOfToken).toBeLessThanOrEqual(mebibytes * 2 ** 20);
      expect((sequences + 4) * 256 * bytesOfToken).toBeGreaterThan(mebibytes * 2 ** 20);
      expect(cacheBytes).toBeGreaterThanOrEqual(sequences * shortest * bytesOfToken);
    }
    // 200 MiB hold some 400 of them: more than are read while the first one answers.
    expect((await runBench([...argv, "--memory", "200"])).stdout).toMatch(/^fp16 +at least \d+ /m);
  });

  it.each([
    ["memory", ["--tokens", "3000000", "--cache", "kvq2"]],
    ["encode", ["--repeats", "1000", "--caches", "kvq2"]],
  ])("%s stops when interrupted, with exit code 130", async (name, options) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 200);
    const { code, document } = await runBenchJson([name, ...options], controller.signal);
    expect([code, document.error.code]).toEqual([130, "CANCELLED"]);
  });

  it("cuda says why there is nothing to measure where no driver can be opened", async () => {
    const driver = process.env["KVQUANT_CUDA_DRIVER"];
    process.env["KVQUANT_CUDA_DRIVER"] = "libcuda-of-nobody.so.1";
    try {
      const { code, stdout, stderr } = await runBench(["cuda"]);
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(/NATIVE_UNAVAILABLE.*expected a GPU, got none: .*libcuda-of-nobody/s);
    } finally {
      if (driver === undefined) delete process.env["KVQUANT_CUDA_DRIVER"];
      else process.env["KVQUANT_CUDA_DRIVER"] = driver;
    }
  });
});
