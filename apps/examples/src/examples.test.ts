/** Every example is run as it stands, and what it prints is looked at. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

let lines: string[];

beforeEach(() => {
  lines = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => void lines.push(line));
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

/** The first number after a word in the printed lines. */
function numberAfter(words: string): number {
  const line = lines.find((candidate) => candidate.includes(words));
  const found = line === undefined ? undefined : /-?\d+(\.\d+)?(e-?\d+)?/.exec(line.slice(line.indexOf(words) + words.length));
  if (found === undefined || found === null) throw new Error(`no number after "${words}" in:\n${lines.join("\n")}`);
  return Number(found[0]);
}

it("pack-and-unpack: 8 codes of 3 bits take 3 bytes and come back", async () => {
  await import("./pack-and-unpack.mjs");
  // 1 7 0 5 3 2 6 4 from the lowest bit on: 0b100_110_010_011_101_000_111_001.
  expect(lines.slice(0, 2)).toEqual(["8 codes in 3 bytes: 00111001 00111010 10011001", "back: 1 7 0 5 3 2 6 4"]);
  expect(lines[2]).toBe("key-lanes-3x128: 8192 codes in 3072 bytes, the same after unpacking");
});

it("fit-a-codebook: fitted levels err less than made ones", async () => {
  await import("./fit-a-codebook.mjs");
  const error = (name: string): number => numberAfter(`${name.padEnd(12)} mean squared error`);
  expect(error("fitted")).toBeLessThan(Math.min(error("uniform"), error("normalFloat")));
});

it("sparse-store: the planted channel is found in every token", async () => {
  await import("./sparse-store.mjs");
  expect(lines.filter((line) => /^token \d: channels .*\b11\b/.test(line))).toHaveLength(4);
  expect(lines.at(-1)).toBe("after truncating: 2 tokens");
});

it("quantize-a-matrix: per channel and with outliers beats per token", async () => {
  await import("./quantize-a-matrix.mjs");
  const [token, channel, outliers] = lines.map((line) => Number(/error (.*)%/.exec(line)?.[1]));
  expect(channel).toBeLessThan(token!);
  expect(outliers).toBeLessThanOrEqual(channel!);
});

it("cache-with-attention: 3 bits answer nearly as fp16 does, in a third of the bytes", async () => {
  await import("./cache-with-attention.mjs");
  expect(numberAfter("kvq3: ")).toBeLessThan(numberAfter("fp16: ") / 3);
  expect(numberAfter("largest difference of the outputs:")).toBeLessThan(0.5 * numberAfter("of numbers up to"));
});

it("calibrate: a fitted cache of a real model, measured and used", async () => {
  await import("./calibrate.mjs");
  expect(numberAfter("kvq3: ")).toBeLessThan(4);
  const divergence = Number(/KL divergence (.*)/.exec(lines.find((line) => line.startsWith("kvq3"))!)?.[1]);
  expect(divergence).toBeGreaterThan(0);
  expect(divergence).toBeLessThan(0.05);
  expect(lines.at(-1)).toMatch(/^One day\W+\w+/);
});

it("serve-and-chat: the official client chats with the server over a compressed cache", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kvquant-examples-")); // for the calibration that the server keeps
  vi.stubEnv("KVQUANT_CACHE", folder);
  await import("./serve-and-chat.mjs");
  rmSync(folder, { recursive: true });
  expect(lines).toContainEqual(expect.stringMatching(/^40 tokens after \d{3} of the prompt; /));
  expect(lines.find((line) => line.startsWith("answer: "))).toMatch(/(\w+\W+){10}/);
  expect(numberAfter("cache ")).toBeLessThan(numberAfter("in fp16 "));
});
