import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildAddons, wantsCuda } from "./setup-addons.mjs";
import { fingerprints } from "./setup-stamp.mjs";

describe("wantsCuda", () => {
  it("is true where the system shows a driver, or where another one is named", () => {
    const nothing = { exists: () => false, environment: {} };
    expect(wantsCuda(nothing)).toBe(false);
    expect(wantsCuda({ ...nothing, environment: { KVQUANT_CUDA_DRIVER: "" } })).toBe(false);
    expect(wantsCuda({ ...nothing, environment: { KVQUANT_CUDA_DRIVER: "./fake-driver.so" } })).toBe(true);
    expect(wantsCuda({ ...nothing, exists: (/** @type {string} */ path) => path === "/proc/driver/nvidia/version" })).toBe(true);
  });
});

describe("buildAddons", () => {
  it("goes on with the next one when one cannot be built, and names it", async () => {
    const said = /** @type {string[]} */ ([]);
    const runStep = async (/** @type {string} */ title) => {
      if (title.endsWith("@kvquant/cpu")) throw new Error("setup: compiling failed");
    };
    expect(await buildAddons("/nowhere", ["cpu", "cuda"], { write: (text) => void said.push(text), runStep })).toEqual(["cpu"]);
    expect(said.join("")).toMatch(/compiling failed\n.*without the addon of @kvquant\/cpu/);
  });
});

describe("fingerprints", () => {
  let /** @type {string} */ root;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "kvquant-fingerprints-"));
    for (const folder of ["packages/spec/src", "native/node", "native/cuda-node", "native/ops/add"]) mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(join(root, "packages/spec/package.json"), "{}");
  });
  afterAll(() => rmSync(root, { recursive: true }));

  it.each([
    ["packages/spec/package.json", ["install", "build"]],
    ["packages/spec/src/index.ts", ["build"]],
    ["packages/spec/src/index.test.ts", []],
    ["native/node/addon.cpp", ["cpu"]],
    ["native/cuda-node/device.cpp", ["cuda"]],
    ["native/ops/add/add.h", ["cpu", "cuda"]],
    ["native/ops/add/README.md", []],
  ])("a change of %s changes %j", (file, changed) => {
    const flat = () => {
      const { addons, ...rest } = fingerprints(root);
      return Object.entries({ ...rest, ...addons });
    };
    const before = flat();
    writeFileSync(join(root, file), `{ "name": "${file}" }`);
    const after = Object.fromEntries(flat());
    expect(before.filter(([name, hash]) => after[name] !== hash).map(([name]) => name)).toEqual(changed);
  });
});
