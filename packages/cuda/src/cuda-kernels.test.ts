import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeEach, describe, expect, it } from "vitest";

import { loadAddon } from "./addon.js";
import { KERNEL_FAMILIES, readKernelImages } from "./cuda-kernels.js";
import { addonIsBuilt } from "./fixtures/fake-driver.js";

describe.skipIf(!addonIsBuilt())("kernel images", () => {
  const folder = mkdtempSync(join(tmpdir(), "kvquant-kernels-"));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    for (const family of KERNEL_FAMILIES) writeFileSync(join(folder, `${family}.fatbin`), family);
  });

  it("are read when they were built from the addon's headers", () => {
    writeFileSync(join(folder, "interface.txt"), `${loadAddon().kernelInterface}\n`);
    expect(Object.entries(readKernelImages(folder)).map(([family, bytes]) => [family, Buffer.from(bytes).toString()])).toEqual(KERNEL_FAMILIES.map((family) => [family, family]));
  });

  it("of another build are refused with both names", () => {
    writeFileSync(join(folder, "interface.txt"), "0123456789abcdef\n");
    expect(() => readKernelImages(folder)).toThrow(expect.objectContaining({ code: "NATIVE_UNAVAILABLE", message: expect.stringMatching(new RegExp(`expected those of interface ${loadAddon().kernelInterface}.*got 0123456789abcdef`)) as unknown }));
  });

  it("of a build that did not end, or of one that lost a family, are refused", () => {
    rmSync(join(folder, "interface.txt"));
    expect(() => readKernelImages(folder)).toThrow(expect.objectContaining({ code: "NATIVE_UNAVAILABLE" }));
    writeFileSync(join(folder, "interface.txt"), `${loadAddon().kernelInterface}\n`);
    rmSync(join(folder, "encode.fatbin"));
    expect(() => readKernelImages(folder)).toThrow(expect.objectContaining({ code: "NATIVE_UNAVAILABLE", message: expect.stringContaining("encode.fatbin") as unknown }));
  });

  it("have a name of 16 hexadecimal digits", () => {
    expect(loadAddon().kernelInterface).toMatch(/^[0-9a-f]{16}$/);
  });
});
