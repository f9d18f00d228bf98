// Compiles the unchanged kernels of native/cuda for the CPU and runs them, in four builds: optimised with several thread orders, the same with shared memory full of NaN, with address and
// undefined-behaviour sanitizers, and small grids with the thread sanitizer. Then kernels with planted bugs, which the builds must notice.
//
//   node tools/cuda-emulation/run.mjs          a subset that spans widths, head dims and recipes (under a minute once compiled)
//   node tools/cuda-emulation/run.mjs --full   every instance and group size
//
// Needs g++ and the objects of the built addon (the CPU library is the reference). Prints "N passed, M failed".
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { runCommand } from "../run-command.mjs";

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */
/** @typedef {{ name: string, flags: string[], link?: string[], environment?: Record<string, string>, from?: string, seeds: number[], mode: string }} Build */

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");
const objects = join(root, "packages", "cpu", "build", "Release", "native", "ops");
const out = join(root, "native", "build-cuda", "emulation");
const sources = ["attend", "encode"].flatMap((folder) => readdirSync(join(root, "native", "cuda", folder)).filter((name) => name.endsWith(".cu")).map((name) => join(root, "native", "cuda", folder, name)));

/** @param {boolean} full @returns {Build[]} */
function builds(full) {
  const mode = full ? "full" : "quick";
  const sanitize = ["-O1", "-g", "-fno-omit-frame-pointer"];
  return [
    { name: "optimised", flags: ["-O2"], seeds: full ? [0, 1, 3, 4] : [0, 3], mode },
    { name: "poisoned", flags: ["-O2"], from: "optimised", environment: { KVQ_EMULATION_POISON: "0xff" }, seeds: [1], mode },
    { name: "address", flags: [...sanitize, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], environment: { ASAN_OPTIONS: "detect_leaks=0:detect_stack_use_after_return=0" }, seeds: [0], mode: "quick" },
    { name: "thread", flags: [...sanitize, "-fsanitize=thread"], environment: { TSAN_OPTIONS: "halt_on_error=1:exitcode=66:report_signal_unsafe=0" }, seeds: [0], mode: "small" },
  ];
}

// Which exit codes of which builds prove that a bug was noticed: 10 a wrong result, 86 refused by the emulator, 1 a sanitizer's report, 66 a race.
const planted = /** @type {Record<string, Record<string, number>>} */ ({
  "reverse-without-barrier": { optimised: 10, thread: 66 },
  "reuse-without-barrier": { thread: 66 },
  "exchange-without-syncwarp": { optimised: 10, thread: 66 },
  "divergent-barrier": { optimised: 86, address: 86, thread: 86 },
  "barrier-after-exit": { optimised: 86 },
  "shuffle-outside-mask": { optimised: 86 },
  "shuffle-in-a-branch": { optimised: 86 },
  "shared-out-of-bounds": { address: 1 },
  "global-out-of-bounds": { address: 1 },
  "misaligned-vector": { address: 1 },
  "uninitialised-shared": { optimised: 10, poisoned: 10 },
  "lost-update": { thread: 66 },
  "copy-not-awaited": { optimised: 10 },
  sound: { optimised: 0, poisoned: 0, address: 0, thread: 0 },
});

/**
 * @param {(text: string) => void} write
 * @param {{ full?: boolean }} [options]
 * @returns {Promise<Counts>}
 */
export async function runCudaEmulation(write, { full = false } = {}) {
  /** @type {Counts} */
  const total = { passed: 0, failed: 0, skipped: 0 };
  if (process.arch !== "x64" || !existsSync(objects)) return { ...total, skipped: 1 };
  for (const build of builds(full)) {
    const started = Date.now();
    const folder = join(out, (build.from ?? build.name) + (full ? "-full" : ""));
    if (build.from === undefined) {
      const problem = await compile(build, folder, full);
      if (problem !== undefined) {
        write(`FAILED: CUDA emulation, ${build.name} does not compile\n${problem}\n`);
        total.failed++;
        continue;
      }
    }
    const counts = { passed: 0, failed: 0 };
    for (const program of ["attend", "encode"]) {
      for (const seed of build.seeds) {
        const { code, output } = await run(join(folder, program), [String(seed), build.mode], build.environment);
        const lines = output.split("\n");
        const failures = lines.filter((line) => line.startsWith("not ok "));
        counts.passed += lines.filter((line) => line.startsWith("ok ")).length;
        counts.failed += failures.length > 0 ? failures.length : code === 0 ? 0 : 1;
        if (failures.length > 0 || code !== 0) write(failures.length > 0 ? `${failures.join("\n")}\n` : `${program}: exit code ${String(code)}\n${output.slice(-4000)}\n`);
      }
    }
    for (const [bug, expected] of Object.entries(planted)) {
      const code = expected[build.name];
      if (code === undefined) continue;
      const ended = [];
      for (const seed of [0, 1, 3]) ended.push((await run(join(folder, "bugs"), [bug, String(seed)], build.environment)).code);
      if (code === 0 ? ended.every((end) => end === 0) : ended.includes(code)) counts.passed++;
      else {
        counts.failed++;
        write(`not ok planted bug ${bug}: exit codes ${ended.join(", ")}, expected ${String(code)}\n`);
      }
    }
    total.passed += counts.passed;
    total.failed += counts.failed;
    write(`${counts.failed === 0 ? "passed" : "FAILED"}: CUDA emulation, ${build.name}, ${counts.passed} of ${counts.passed + counts.failed}, ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
  }
  return total;
}

/** @param {Build} build @param {string} folder @param {boolean} full @returns {Promise<string | undefined>} what the compiler said, if it failed */
async function compile(build, folder, full) {
  mkdirSync(folder, { recursive: true });
  const native = join(root, "native");
  const flags = ["-std=c++20", "-mf16c", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-ffp-contract=off", "-DKVQ_CUDA_EMULATION", ...(build.mode === "small" ? ["-DKVQ_SUBSET=3"] : full ? [] : ["-DKVQ_SUBSET"]), ...build.flags, "-I", native, "-I", join(native, "include"), "-I", here];
  const newest = newestSource();
  /** @type {{ to: string, args: string[] }[]} */
  const units = [...sources, join(native, "cuda", "tables", "tables.cpp"), ...["attend.test.cpp", "encode.test.cpp", "bugs.cpp"].map((name) => join(here, name))].map((source) => {
    const to = join(folder, `${basename(source)}.o`);
    return { to, args: [...flags, "-x", "c++", "-c", source, "-o", to] };
  });
  const queue = units.filter(({ to }) => !existsSync(to) || statSync(to).mtimeMs < newest);
  /** @type {string | undefined} */
  let problem;
  const worker = async () => {
    for (let unit = queue.shift(); unit !== undefined && problem === undefined; unit = queue.shift()) {
      const { code, output } = await run("g++", unit.args);
      if (code !== 0) problem = output;
    }
  };
  await Promise.all([worker(), worker()]);
  if (problem !== undefined) return problem;
  const library = readdirSync(objects, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".o")).map((name) => join(objects, name));
  const kernels = sources.map((source) => join(folder, `${basename(source)}.o`));
  for (const program of ["attend", "encode", "bugs"]) {
    const own = join(folder, program === "bugs" ? "bugs.cpp.o" : `${program}.test.cpp.o`);
    const inputs = program === "bugs" ? [own] : [own, ...kernels, join(folder, "tables.cpp.o"), ...library];
    const { code, output } = await run("g++", [...build.flags, ...inputs, "-rdynamic", "-ldl", "-pthread", "-o", join(folder, program)]);
    if (code !== 0) return output;
  }
  return undefined;
}

function newestSource() {
  const folders = [join(root, "native", "cuda"), join(root, "native", "include"), here];
  return Math.max(...folders.flatMap((folder) => readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => statSync(join(folder, name)).mtimeMs)));
}

/** @param {string} command @param {string[]} args @param {Record<string, string>} [environment] */
function run(command, args, environment) {
  return runCommand(command, args, { cwd: root, env: { ...process.env, ...environment } });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { passed, failed, skipped } = await runCudaEmulation((text) => void process.stdout.write(text), { full: process.argv.includes("--full") });
  process.stdout.write(`${String(passed)} passed, ${String(failed)} failed, ${String(skipped)} skipped\n`);
  process.exitCode = failed > 0 ? 1 : 0;
}
