/** Every command on the 260K-parameter fixture, through the whole program. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { runJson } from "../fixtures/run-command.js";
import { useCacheFolder } from "../fixtures/temporary-folder.js";

const model = fileURLToPath(new URL("../../../../packages/model/fixtures/stories260k", import.meta.url));
const folder = useCacheFolder();
let data: string;
let artifact: string;

/** The test model has heads of 8 channels: its pages are decoded before attention. */
function runOnModel(argv: readonly string[], signal?: AbortSignal) {
  const attention = ["generate", "eval"].includes(argv[0]!) ? ["--attention", "tiles"] : [];
  return runJson([...argv, ...attention], signal);
}

beforeAll(async () => {
  data = join(folder, "text.txt");
  const names = ["Lily", "Tom", "Mia", "Ben", "Sue"];
  const things = ["a red ball", "a big dog", "the old tree", "her mom", "a shiny stone", "the moon", "a small cat"];
  const sentences = Array.from({ length: 70 }, (_, index) => `Once upon a time ${names[index % 5]!} saw ${things[(index * 3) % 7]!} and ran to ${things[(index * 5 + 1) % 7]!}. `);
  writeFileSync(data, sentences.join(""));
  artifact = join(folder, "out.kvq");
  const calibrated = await runOnModel(["calibrate", model, "--data", data, "--cache", "nuq3-1%", "--sinks", "1", "--sequences", "2", "--length", "160", "--sensitivity", "fisher", "-o", artifact]);
  expect(calibrated).toMatchObject({
    code: 0,
    document: { cache: "nuq3-1%", path: artifact, sinkTokens: 1, calibration: { sequences: 2, length: 160, sensitivity: "fisher", fromCache: false } },
  });
});

describe("kvquant calibrate", () => {
  it("uses kept statistics the second time and writes the same bytes", async () => {
    const again = join(folder, "again.kvq");
    const { code, document, stderr } = await runOnModel(["calibrate", model, "--data", data, "--sequences", "2", "--length", "160", "-o", again]);
    expect(code).toBe(0);
    expect(document.calibration.fromCache).toBe(true);
    expect(stderr).toContain("kept from earlier");
    expect(readFileSync(again).equals(readFileSync(artifact))).toBe(true);
  });

  it("finds the sinks from the attention itself when asked, and fits for as many", async () => {
    const output = join(folder, "sinks.kvq");
    const { code, document, stderr } = await runOnModel(["calibrate", model, "--data", data, "--sequences", "1", "--length", "160", "--sensitivity", "none", "--sinks", "auto", "-o", output]);
    expect(code).toBe(0);
    // A model of 260K parameters has learned none.
    expect(document.sinkTokens).toBe(0);
    expect(stderr).toMatch(/looking for attention sinks.*: 0 at the beginning; position 0 receives \d+\.\d% of all attention/);
    const wrong = await runOnModel(["calibrate", model, "--data", data, "--sinks", "some", "-o", output]);
    expect(wrong.code).toBe(2);
  });

  it.each(["calibrate", "plan"])("%s refuses a place where nothing can be written before the long work, not after it", async (command) => {
    for (const output of [folder, join(data, "out.kvq")]) {
      const { code, document, stderr } = await runOnModel([command, model, ...(command === "plan" ? ["--calibration-data"] : ["--data"]), data, "--sequences", "3", "--length", "160", "-o", output]);
      expect([code, document.error.code, document.error.message]).toEqual([1, "IO_ERROR", expect.stringContaining(`cannot write ${output}`)]);
      expect(stderr).not.toMatch(/calibrating|gathering|sensitivit/i);
    }
  });

  it("says what a preset lacks when statistics have no sensitivities", async () => {
    const { code, document } = await runOnModel(["calibrate", model, "--data", data, "--sequences", "1", "--length", "160", "--sensitivity", "none", "--cache", "kvq3", "-o", join(folder, "none.kvq")]);
    expect(code).toBe(1);
    expect(document.error.code).toBe("UNSUPPORTED");
  });
});

describe("kvquant inspect", () => {
  it("shows an artifact's origin and its quantizers, layer by layer", async () => {
    const { code, document } = await runOnModel(["inspect", artifact]);
    expect(code).toBe(0);
    expect(document).toMatchObject({ kind: "artifact", cache: "nuq3-1%", sinkTokens: 1, shape: { layers: 5, kvHeads: 4, headDim: 8 } });
    expect(document.layers).toHaveLength(5);
    expect(document.layers[0].key.bits).toBe(3);
  });

  it("shows a model's sizes", async () => {
    const { code, document } = await runOnModel(["inspect", model]);
    expect(code).toBe(0);
    expect(document).toMatchObject({ kind: "model", architecture: "llama", layers: 5, queryHeads: 8, kvHeads: 4, contextLength: 512 });
  });

  it.each([["cut short", (bytes: Buffer) => bytes.subarray(0, bytes.length - 5)], ["with a flipped bit", flipMiddleBit]])("refuses an artifact %s with CORRUPT_DATA", async (_name, damage) => {
    const path = join(folder, "damaged.kvq");
    writeFileSync(path, damage(readFileSync(artifact)));
    const { code, document } = await runOnModel(["inspect", path]);
    expect(code).toBe(1);
    expect(document.error).toMatchObject({ code: "CORRUPT_DATA", message: expect.stringContaining(path) as string });
  });
});

describe("kvquant generate", () => {
  const prompt = ["--prompt", "Once upon a time", "--max-tokens", "12"];

  it("writes the same text from a compressed cache as from fp16 while everything is in the tail", async () => {
    const compressed = await runOnModel(["generate", model, "--cache", artifact, ...prompt]);
    const exact = await runOnModel(["generate", model, "--cache", "fp16", ...prompt]);
    expect(compressed.code).toBe(0);
    expect(compressed.document.text).not.toBe("");
    expect(compressed.document).toMatchObject({ text: exact.document.text, generatedTokens: 12, finish: "length", bitsPerValue: null });
  });

  it("reads closed pages on a longer text, and states their bits", async () => {
    const { code, document } = await runOnModel(["generate", model, "--cache", artifact, "--prompt", readFileSync(data, "utf8").slice(0, 800), "--max-tokens", "4"]);
    expect(code).toBe(0);
    expect(document.bitsPerValue).toBeGreaterThan(3);
    expect(document.bitsPerValue).toBeLessThan(8);
  });

  it("gives the same text for the same seed and another one for another", async () => {
    const sample = (seed: string) => runOnModel(["generate", model, "--cache", "fp16", "--temperature", "1.5", "--seed", seed, ...prompt]);
    const [first, same, other] = [await sample("1"), await sample("1"), await sample("2")];
    expect(same.document.text).toBe(first.document.text);
    expect(other.document.text).not.toBe(first.document.text);
  });

  it("fits a preset to the calibration kept for the model, and says so", async () => {
    const { code, stderr } = await runOnModel(["generate", model, "--cache", "nuq4-1%", ...prompt]);
    expect(code).toBe(0);
    expect(stderr).toContain("nuq4-1%: no artifact given, so fitted to the calibration of stories260k");
    expect(stderr).toContain("kept from earlier");
  });

  it("refuses an artifact with another number of sinks with MODEL_MISMATCH", async () => {
    const { code, document } = await runOnModel(["generate", model, "--cache", artifact, "--sinks", "4", ...prompt]);
    expect(code).toBe(1);
    expect(document.error.code).toBe("MODEL_MISMATCH");
  });

  it("says that a model has no chat template", async () => {
    const { code, document } = await runOnModel(["generate", model, "--cache", "fp16", "--chat", ...prompt]);
    expect(code).toBe(1);
    expect(document.error.code).toBe("UNSUPPORTED");
  });

  it("refuses a system message without a chat as bad usage", async () => {
    const { code } = await runOnModel(["generate", model, "--cache", "fp16", "--system", "Be brief.", ...prompt]);
    expect(code).toBe(2);
  });
});

describe("kvquant eval", () => {
  const evaluate = (...more: string[]) => runOnModel(["eval", model, "--data", data, "--context", "192", "--windows", "2", ...more]);

  it("prints the documented fields for each cache and tail", async () => {
    const { code, document } = await evaluate("--caches", `fp16,nuq2-1%,${artifact}`, "--tail", "0,64");
    expect(code).toBe(0);
    expect(Object.keys(document)).toEqual(["model", "engine", "protocol", "rows"]);
    expect(document.rows.map((row: { cache: string; tail: number }) => [row.cache, row.tail])).toEqual([0, 64].flatMap((tail) => [["fp16", tail], ["nuq2-1%", tail], [artifact, tail]]));
    const fields = ["cache", "bitsPerValue", "keyBits", "valueBits", "cacheBytesPerToken", "perplexity", "deltaPerplexity", "deltaPerplexityError", "kldMean", "kldError", "kldMedian", "kld999", "top1", "tokensScored", "secondsPerWindow"];
    for (const row of document.rows) for (const field of fields) expect(row).toHaveProperty(field);
    const [exact, two, three] = document.rows;
    expect(exact).toMatchObject({ kldMean: 0, top1: 1, deltaPerplexity: 0, tokensScored: 2 * 191 });
    expect(two.kldMean).toBeGreaterThan(three.kldMean);
    expect(three.kldMean).toBeGreaterThan(document.rows[5].kldMean);
  });

  it("refuses a window that is longer than the text", async () => {
    const short = join(folder, "short.txt");
    writeFileSync(short, "Once upon a time.");
    const { code, document } = await runOnModel(["eval", model, "--data", short, "--caches", "fp16", "--context", "192"]);
    expect(code).toBe(1);
    expect(document.error).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining("192") });
  });

  it("refuses a context longer than the model's", async () => {
    const { code, document } = await runOnModel(["eval", model, "--data", data, "--caches", "fp16", "--context", "600"]);
    expect(code).toBe(1);
    expect(document.error.code).toBe("INVALID_ARGUMENT");
  });

  it("refuses a text that is not there, and a model without a text of its own when none is given", async () => {
    const missing = await runOnModel(["eval", model, "--data", join(folder, "none.txt"), "--caches", "fp16"]);
    expect([missing.code, missing.document.error.code]).toEqual([1, "IO_ERROR"]);
    const none = await runOnModel(["eval", model, "--caches", "fp16"]);
    expect([none.code, none.document.error.code]).toEqual([1, "INVALID_ARGUMENT"]);
  });

  it("stops when interrupted, with exit code 130", async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 30);
    const { code, document } = await runOnModel(["eval", model, "--data", data, "--caches", "fp16,nuq2-1%,nuq3-1%,nuq4-1%", "--context", "192"], controller.signal);
    expect(code).toBe(130);
    expect(document.error.code).toBe("CANCELLED");
  });
});

function flipMiddleBit(bytes: Buffer): Buffer {
  const damaged = Buffer.from(bytes);
  damaged[bytes.length >> 1]! ^= 1;
  return damaged;
}
