import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hashPlainData } from "./hash-plain-data.js";
import { packNumbers, unpackBytes, unpackFloat32, unpackFloat64 } from "./pack-numbers.js";
import { openUnitStore } from "./unit-store.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "kvquant-units-"));
});
afterEach(() => rm(folder, { recursive: true }));

const key = { part: "passkey", model: "m", tail: 64, prompt: "abc" };
const open = (notices: string[] = [], resume: boolean | Date = true) => openUnitStore(folder, { resume, onNotice: (notice) => notices.push(notice) });

describe("openUnitStore", () => {
  it("gives back what was written under the same key, and nothing under any other", async () => {
    await open().write(key, { passed: true, logProbability: -0.1 });
    expect(await open().read({ ...key, extra: undefined })).toEqual({ passed: true, logProbability: -0.1 });
    for (const other of [{ ...key, tail: 0 }, { ...key, tail: undefined }, { ...key, part: "needle" }, { ...key, prompt: "abd" }, { ...key, more: 1 }]) expect(await open().read(other)).toBeUndefined();
    expect(await readdir(folder)).toEqual(["passkey"]);
  });

  it("reads nothing without resume", async () => {
    await open().write(key, 1);
    expect(await open([], false).read(key)).toBeUndefined();
  });

  it("reads only what was written since a moment, where one is given", async () => {
    await open().write(key, 1);
    const [path] = (await readdir(join(folder, "passkey"))).map((name) => join(folder, "passkey", name));
    const moment = new Date("2026-01-02T00:00:00Z");
    await utimes(path!, moment, new Date(moment.getTime() - 1));
    expect(await open([], moment).read(key)).toBeUndefined();
    await utimes(path!, moment, moment);
    expect(await open([], moment).read(key)).toBe(1);
    expect(await open([], moment).read({ ...key, tail: 0 })).toBeUndefined();
  });

  it("refuses a unit that was cut, changed, or put under another name, and says so", async () => {
    await open().write(key, { passed: true });
    const path = join(folder, "passkey", (await readdir(join(folder, "passkey")))[0]!);
    const whole = await readFile(path, "utf8");
    for (const damaged of [whole.slice(0, -10), "", "null", "{}", `{"version":2,"key":null,"value":1}`, `{"version":2,"key":7,"value":1}`, whole.replace("true", "false"), whole.replace('"tail":64', '"tail":65'), whole.replace('"version":2', '"version":1')]) {
      expect(damaged).not.toBe(whole);
      await writeFile(path, damaged);
      const notices: string[] = [];
      expect(await open(notices).read(key)).toBeUndefined();
      expect(notices).toEqual([expect.stringMatching(/is damaged; computing it again/)]);
    }
    await writeFile(path, whole);
    expect(await open().read(key)).toEqual({ passed: true });
  });
});

describe("hashPlainData", () => {
  it("depends on every number and name, and not on the order of names", () => {
    const data = { id: "a", bits: 3, arrays: { levels: Float32Array.of(1, 2) }, stages: ["x", "y"] };
    expect(hashPlainData({ stages: ["x", "y"], arrays: { levels: Float32Array.of(1, 2) }, bits: 3, id: "a", none: undefined })).toBe(hashPlainData(data));
    const others = [
      { ...data, id: "b" },
      { ...data, bits: "3" },
      { ...data, arrays: { levels: Float32Array.of(1, 2.0000002) } },
      { ...data, arrays: { level: Float32Array.of(1, 2) } },
      { ...data, arrays: { levels: [1, 2] } },
      { ...data, stages: ["xy"] },
      { ...data, stages: ["x", "y", ""] },
      { ...data, more: null },
    ];
    expect(new Set([data, ...others].map(hashPlainData)).size).toBe(9);
  });
});

describe("packNumbers", () => {
  it("keeps every bit, from the middle of a buffer too", () => {
    const floats = Float32Array.of(9, 0.1, -0, Infinity, 1e-40).subarray(1);
    expect(unpackFloat32(packNumbers(floats))).toEqual(floats);
    const doubles = Float64Array.of(9, 0.1, NaN, 5e-324).subarray(1);
    expect(unpackFloat64(packNumbers(doubles))).toEqual(doubles);
    expect(unpackBytes(packNumbers(Uint8Array.of(1, 0, 255)))).toEqual(Uint8Array.of(1, 0, 255));
    expect(unpackFloat64(packNumbers(new Float64Array(0)))).toHaveLength(0);
  });
});
