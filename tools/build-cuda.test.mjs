import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findProblems, parseResources, residentWarps, runtimeFolders } from "./build-cuda.mjs";

const printed = `
ptxas info    : Compiling entry function 'kvq_keys_page_4_128' for 'sm_90'
ptxas info    : Function properties for kvq_keys_page_4_128
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 162 registers, used 1 barriers
ptxas info    : Compiling entry function 'kvq_values_token_4_128' for 'sm_80'
    56 bytes stack frame, 52 bytes spill stores, 40 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 56 bytes cumulative stack size, 128 bytes smem
`;

describe("the report of the kernel build", () => {
  it("reads registers, shared memory and spills of every kernel and architecture", () => {
    expect(parseResources("keys-page", printed)).toEqual([
      { family: "keys-page", kernel: "kvq_keys_page_4_128", architecture: "sm_90", registers: 162, shared: 0, spilled: 0, stack: 0 },
      { family: "keys-page", kernel: "kvq_values_token_4_128", architecture: "sm_80", registers: 168, shared: 128, spilled: 92, stack: 56 },
    ]);
  });

  it("fails on a spill, on local memory and on a kernel whose registers were not reported", () => {
    const [sound, spilling] = parseResources("keys-page", printed);
    if (sound === undefined || spilling === undefined) throw new Error("expected two kernels");
    expect(findProblems([sound])).toEqual([]);
    expect(findProblems([spilling])).toEqual(["kvq_values_token_4_128 (sm_80) spills 92 bytes", "kvq_values_token_4_128 (sm_80) uses 56 bytes of local memory"]);
    expect(findProblems([{ ...sound, registers: 0 }])).toEqual(["kvq_keys_page_4_128 (sm_90) uses 0 registers"]);
  });

  it("counts the warps of a multiprocessor that registers allow", () => {
    expect(residentWarps(162, 128, "sm_90")).toBe(12);
    expect(residentWarps(128, 128, "sm_90")).toBe(16);
    expect(residentWarps(255, 128, "sm_80")).toBe(8);
    expect(residentWarps(32, 256, "sm_120")).toBe(48);
  });
});

describe("the link of the bench program", () => {
  it("finds the CUDA runtime of the wheels, which nvcc does not look for, and leaves installed toolkits to nvcc", () => {
    const toolkit = mkdtempSync(join(tmpdir(), "kvquant-toolkit-"));
    try {
      const nvcc = join(toolkit, "bin", "nvcc");
      mkdirSync(join(toolkit, "lib"));
      expect(runtimeFolders(nvcc)).toEqual([]);
      writeFileSync(join(toolkit, "lib", "libcudart_static.a"), "");
      expect(runtimeFolders(nvcc)).toEqual(["-L", join(toolkit, "lib")]);
    } finally {
      rmSync(toolkit, { recursive: true });
    }
  });
});
