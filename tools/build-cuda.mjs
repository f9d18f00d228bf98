// Compiles native/cuda: one fatbin for each family with machine code for sm_80, sm_90 and sm_120 and PTX for newer devices, and reports registers, shared memory, spills and occupancy of every
// kernel. Fails on a spill, on local memory, or above the register ceiling.
//
//   node tools/build-cuda.mjs            every kernel, all architectures, into packages/cuda/kernels
//   node tools/build-cuda.mjs --subset   a set that spans widths and head dims, sm_90 only: for CI
//   node tools/build-cuda.mjs --bench    the bench program too (native/build-cuda/bench/bench; needs the objects of the built addon); --only-bench: nothing else
//
// nvcc: what KVQUANT_NVCC names, or nvcc on the PATH, or the wheels that PyPI has of it, which are installed into native/build-cuda/toolkit (Python 3 with pip).
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { interfaceHash } from "../packages/cuda/scripts/interface-hash.mjs";
import { runCommand } from "./run-command.mjs";

const root = join(fileURLToPath(import.meta.url), "..", "..");
const out = join(root, "native", "build-cuda");
const wheels = ["nvidia-cuda-nvcc==13.0.88", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-crt==13.0.88", "nvidia-cuda-cccl==13.0.85", "nvidia-nvvm==13.0.88"];

/** Families: a source each, and the kernel family's fatbin. */
export const families = /** @type {const} */ ({
  "keys-channel": "attend/keys-channel.cu",
  "keys-page": "attend/keys-page.cu",
  "values-token": "attend/values-token.cu",
  "values-rotated": "attend/values-rotated.cu",
  half: "attend/half.cu",
  encode: "encode/encode.cu",
});
const registerCeiling = 255;
/** Of a multiprocessor: registers, shared memory in bytes, threads. */
const multiprocessors = { sm_80: { registers: 65536, shared: 167936, threads: 2048 }, sm_90: { registers: 65536, shared: 233472, threads: 2048 }, sm_120: { registers: 65536, shared: 102400, threads: 1536 } };

/** @typedef {{ family: string, kernel: string, architecture: string, registers: number, shared: number, spilled: number, stack: number }} Resources */

/**
 * Reads what `ptxas -v` printed.
 * @param {string} family @param {string} text @returns {Resources[]}
 */
export function parseResources(family, text) {
  /** @type {Resources[]} */
  const all = [];
  for (const line of text.split("\n")) {
    const entry = /Compiling entry function '(\w+)' for '(sm_\d+)'/.exec(line);
    if (entry !== null) all.push({ family, kernel: entry[1] ?? "", architecture: entry[2] ?? "", registers: 0, shared: 0, spilled: 0, stack: 0 });
    const current = all.at(-1);
    if (current === undefined) continue;
    const stack = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (stack !== null) Object.assign(current, { stack: Number(stack[1]), spilled: Number(stack[2]) + Number(stack[3]) });
    const used = /Used (\d+) registers/.exec(line);
    if (used !== null) Object.assign(current, { registers: Number(used[1]), shared: Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0) });
  }
  return all;
}

/**
 * Blocks of a multiprocessor that registers and threads allow (registers go to warps in units of 8 a thread). Dynamic shared memory depends on the group: the plan counts it.
 * @param {number} registers @param {number} threads @param {string} architecture
 */
export function residentWarps(registers, threads, architecture) {
  const limits = multiprocessors[/** @type {keyof typeof multiprocessors} */ (architecture)] ?? multiprocessors.sm_90;
  const warpsOfBlock = threads / 32;
  const byRegisters = Math.floor(limits.registers / (Math.ceil(registers / 8) * 8 * 32) / warpsOfBlock);
  return Math.min(byRegisters, Math.floor(limits.threads / threads)) * warpsOfBlock;
}

/** @param {Resources} r */
const threadsOf = (r) => (r.family === "encode" ? (r.kernel === "kvq_append" ? 128 : 256) : r.family === "half" && !r.kernel.endsWith("_256") ? 256 : 128);

/**
 * @param {readonly Resources[]} all
 * @returns {string[]} what breaks the rules
 */
export function findProblems(all) {
  return all.flatMap((r) => [
    ...(r.spilled > 0 ? [`${r.kernel} (${r.architecture}) spills ${String(r.spilled)} bytes`] : []),
    ...(r.stack > 0 ? [`${r.kernel} (${r.architecture}) uses ${String(r.stack)} bytes of local memory`] : []),
    ...(r.registers > registerCeiling || r.registers === 0 ? [`${r.kernel} (${r.architecture}) uses ${String(r.registers)} registers`] : []),
  ]);
}

/** @param {(text: string) => void} write @returns {Promise<string>} path of nvcc */
async function findCompiler(write) {
  const named = process.env["KVQUANT_NVCC"];
  if (named !== undefined) return named;
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) if (existsSync(join(folder, "nvcc"))) return join(folder, "nvcc");
  const nvcc = join(out, "toolkit", "nvidia", "cu13", "bin", "nvcc");
  if (!existsSync(nvcc)) {
    write("installing nvcc from PyPI into native/build-cuda/toolkit\n");
    await run("python3", ["-m", "pip", "install", "--quiet", "--no-deps", "--target", join(out, "toolkit"), ...wheels]);
  }
  return nvcc;
}

/** @param {string} command @param {string[]} args @returns {Promise<string>} what it printed */
async function run(command, args) {
  const { code, output } = await runCommand(command, args, { cwd: root });
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}\n${output}`);
  return output;
}

const common = ["-O3", "-std=c++20", "--expt-relaxed-constexpr", "-I", join(root, "native"), "-I", join(root, "native", "include")];

/**
 * For `npm test`: compiles the subset as one check. Where no compiler can be had, it counts as skipped.
 * @param {(text: string) => void} write @returns {Promise<{ passed: number, failed: number, skipped: number }>}
 */
export async function checkSubset(write) {
  const since = Date.now();
  /** @type {string} */
  let nvcc;
  try {
    nvcc = await findCompiler(write);
  } catch (error) {
    write(`SKIPPED: CUDA kernels, no nvcc: ${/** @type {Error} */ (error).message}\n`);
    return { passed: 0, failed: 0, skipped: 1 };
  }
  let output = "";
  const keep = (/** @type {string} */ text) => void (output += text);
  const sound = await build({ nvcc, subset: true, bench: false, write: keep }).catch((/** @type {Error} */ error) => (keep(error.message), false));
  if (!sound) write(`${output}\n`);
  write(`${sound ? "passed" : "FAILED"}: CUDA kernels compile, no spills, ${((Date.now() - since) / 1000).toFixed(1)} s\n`);
  return { passed: sound ? 1 : 0, failed: sound ? 0 : 1, skipped: 0 };
}

/** @param {{ nvcc: string, subset: boolean, bench: boolean, write: (text: string) => void }} options */
async function build({ nvcc, subset, bench, write }) {
  const architectures = subset ? ["90"] : ["80", "90", "120"];
  const targets = architectures.flatMap((a) => ["-gencode", `arch=compute_${a},code=${a === "120" ? `[sm_${a},compute_${a}]` : `sm_${a}`}`]);
  if (!subset) targets.push("-gencode", "arch=compute_80,code=compute_80"); // for devices in between
  const folder = subset ? join(out, "kernels-subset") : join(root, "packages", "cuda", "kernels");
  mkdirSync(folder, { recursive: true });
  // Last to be written: kernels of a build that did not end are nobody's.
  rmSync(join(folder, "interface.txt"), { force: true });
  /** @type {Resources[]} */
  const resources = [];
  const queue = Object.entries(families);
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [family, source] = next;
      const text = await run(nvcc, [...common, ...targets, ...(subset ? ["-DKVQ_SUBSET"] : []), "-Xptxas", "-v", "-fatbin", join(root, "native", "cuda", source), "-o", join(folder, `${family}.fatbin`)]);
      resources.push(...parseResources(family, text));
    }
  };
  await Promise.all([worker(), worker()]);
  resources.sort((a, b) => a.kernel.localeCompare(b.kernel, "en", { numeric: true }) || a.architecture.localeCompare(b.architecture, "en", { numeric: true }));
  const rows = resources.map((r) => `| ${r.kernel} | ${r.architecture} | ${String(r.registers)} | ${String(r.shared)} | ${String(r.spilled)} | ${String(residentWarps(r.registers, threadsOf(r), r.architecture))} |`);
  const table = ["| kernel | architecture | registers | static shared memory | spilled bytes | warps a multiprocessor |", "|---|---|--:|--:|--:|--:|", ...rows].join("\n");
  write(`${table}\n`);
  writeFileSync(join(folder, "resources.md"), `${table}\n`);
  writeFileSync(join(folder, "interface.txt"), `${interfaceHash()}\n`);
  if (bench) await buildBench(nvcc, write);
  const problems = findProblems(resources);
  for (const problem of problems) write(`PROBLEM: ${problem}\n`);
  write(`${String(resources.length)} kernels, ${String(problems.length)} problems; fatbins in ${relative(root, folder)}\n`);
  return problems.length === 0;
}

/**
 * Where the linker finds the CUDA runtime: installed toolkits have it in lib64, which nvcc knows; the wheels of PyPI in lib, which it does not.
 * @param {string} nvcc @returns {string[]} options of nvcc
 */
export function runtimeFolders(nvcc) {
  const folder = join(dirname(dirname(nvcc)), "lib");
  return existsSync(join(folder, "libcudart_static.a")) ? ["-L", folder] : [];
}

/** @param {string} nvcc @param {(text: string) => void} write */
async function buildBench(nvcc, write) {
  const folder = join(out, "bench");
  mkdirSync(folder, { recursive: true });
  const library = join(root, "packages", "cpu", "build", "Release", "native", "ops");
  if (!existsSync(library)) throw new Error(`expected the objects of the CPU library in ${relative(root, library)}, got none; build them with "npm --prefix packages/cpu run build:addon"`);
  const objects = readdirSync(library, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".o")).map((name) => join(library, name));
  const sources = [...Object.values(families), "tables/tables.cpp", "bench/bench.cu"].map((source) => join(root, "native", "cuda", source));
  await run(nvcc, [...common, "-arch=native", "-DKVQ_SUBSET=2", "-t", "0", ...sources, ...objects, ...runtimeFolders(nvcc), "-o", join(folder, "bench")]);
  write("bench program: native/build-cuda/bench/bench\n");
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const wants = (/** @type {string} */ flag) => process.argv.includes(flag);
  const write = (/** @type {string} */ text) => void process.stdout.write(text);
  const nvcc = await findCompiler(write);
  if (wants("--only-bench")) await buildBench(nvcc, write);
  else process.exitCode = (await build({ nvcc, subset: wants("--subset"), bench: wants("--bench"), write })) ? 0 : 1;
}
