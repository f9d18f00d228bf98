// Runs the native tests, and the addons' own tests under vitest, with AddressSanitizer and UndefinedBehaviorSanitizer; then compiles everything with clang++ to see its warnings.
// Takes some minutes. Usage: node tools/check-native.mjs [--skip-clang]
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "./setup.mjs";

const build = "build-sanitize";
const flags = "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all";

/** @param {string} title @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} [environment] */
function step(title, command, args, environment = {}) {
  const started = Date.now();
  process.stdout.write(`${title}\n`);
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...environment } });
  process.stdout.write(`${status === 0 ? "passed" : "FAILED"}: ${title}, ${((Date.now() - started) / 1000).toFixed(0)} s\n`);
  if (status !== 0) process.exit(1);
}

step("native tests with sanitizers", "make", ["-C", "native", "-j2", "test", `BUILD=${build}`, `EXTRA=${flags}`]);
step("addons with sanitizers", "make", ["-C", "native", "-j2", `${build}/kvquant_cpu.node`, `${build}/kvquant_cuda.node`, `BUILD=${build}`, `EXTRA=${flags}`]);
const preload = spawnSync("g++", ["-print-file-name=libasan.so"], { encoding: "utf8" }).stdout.trim();
step("tests of the addons with sanitizers", process.execPath, [join("node_modules", "vitest", "vitest.mjs"), "run", "packages/cpu", "packages/cuda", "packages/model/src/engine/native-engine.test.ts"], {
  KVQUANT_ADDON: join(root, "native", build, "kvquant_cpu.node"),
  KVQUANT_CUDA_ADDON: join(root, "native", build, "kvquant_cuda.node"),
  LD_PRELOAD: preload,
  // V8 keeps what it likes until the process ends.
  ASAN_OPTIONS: "detect_leaks=0",
});
if (!process.argv.includes("--skip-clang")) step("clang++ without warnings", "make", ["-C", "native", "-j2", "test", "build-clang/kvquant_cpu.node", "build-clang/kvquant_cuda.node", "BUILD=build-clang", `CXX=${process.env.CLANG ?? "clang++"}`, "EXTRA=-O0 -Werror"]);
