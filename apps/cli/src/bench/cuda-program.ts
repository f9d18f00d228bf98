/** The benchmark program of native/cuda, compiled by nvcc for the GPU at hand. It compares kernels with cuBLAS, which no package of ours links. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { KvquantError } from "@kvquant/spec";

/** Runs a program from the repository's root, hands on its lines, and returns its exit code. @throws CANCELLED */
export type RunProgram = (command: string, args: readonly string[], onLine: (line: string) => void) => Promise<number>;

/** The root of a checkout of this project above a folder. @throws UNSUPPORTED when there is none: the sources of the kernels are not in the packages */
export function findCheckout(from = dirname(fileURLToPath(import.meta.url))): string {
  for (let folder = from; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "tools", "build-cuda.mjs"))) return folder;
    if (folder === dirname(folder)) throw new KvquantError("UNSUPPORTED", `bench cuda: expected a checkout of the project, whose sources nvcc compiles for the GPU at hand, got an installed package in ${from}; clone the project and run it there`);
  }
}

/** Spawns programs in `root`; ends them on the signal. */
export function createProgramRunner(root: string, signal: AbortSignal): RunProgram {
  return (command, args, onLine) =>
    new Promise((resolve, reject) => {
      const child = spawn(command, args, { cwd: root, signal, stdio: ["ignore", "pipe", "pipe"] });
      for (const input of [child.stdout, child.stderr]) createInterface({ input }).on("line", onLine);
      child.once("error", (error) => reject(signal.aborted ? new KvquantError("CANCELLED", "bench cuda: interrupted") : error));
      child.once("close", (code) => resolve(code ?? 1));
    });
}

/** Compiles the program from the sources as they are, and returns its path. @throws NATIVE_UNAVAILABLE with the compiler's words */
export async function buildCudaProgram(root: string, run: RunProgram): Promise<string> {
  const said: string[] = [];
  const code = await run(process.execPath, [join(root, "tools", "build-cuda.mjs"), "--only-bench"], (line) => said.push(line));
  if (code !== 0) throw new KvquantError("NATIVE_UNAVAILABLE", `bench cuda: expected nvcc to compile the benchmark, got exit code ${code}: ${said.slice(-20).join("\n")}`);
  return join(root, "native", "build-cuda", "bench", "bench");
}

/** In the order they run: nothing is timed that was not checked. */
export const CUDA_PARTS = ["check", "matvec", "attend"] as const;

/** One of {@link CUDA_PARTS}. */
export type CudaPart = (typeof CUDA_PARTS)[number];

/**
 * Runs the parts of the program one after another and returns their lines; `print` gets those of each as soon as it ends, whether it passed or not.
 * @throws NATIVE_UNAVAILABLE when a part does not pass, with its last lines; what `runPart` throws
 */
export async function runCudaParts(runPart: (part: CudaPart, onLine: (line: string) => void) => Promise<number>, print: (text: string) => void, device: string): Promise<Record<CudaPart, string[]>> {
  const results: Record<CudaPart, string[]> = { check: [], matvec: [], attend: [] };
  for (const part of CUDA_PARTS) {
    const lines = results[part];
    const code = await runPart(part, (line) => lines.push(line));
    print(lines.map((line) => `${line}\n`).join(""));
    if (code !== 0) throw new KvquantError("NATIVE_UNAVAILABLE", `bench cuda: expected ${part} to pass on ${device}, got exit code ${code}: ${lines.slice(-3).join("\n")}`);
  }
  return results;
}
