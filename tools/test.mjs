// `npm test`: everything CI runs. The last line is `N passed, N failed, N skipped`; lint, types, layers and knip count as one each.
// Arguments are vitest filters: `npm test -- packages/quant`; native tests and packed packages run without any.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkSubset } from "./build-cuda.mjs";
import { checkPackages } from "./check-packages.mjs";
import { runCudaEmulation } from "./cuda-emulation/run.mjs";
import { runNativeTests } from "./native-tests.mjs";
import { childEnvironment, root, setUp } from "./setup.mjs";
import { installTestPrograms } from "./test-programs.mjs";

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

const bin = (/** @type {string} */ name) => join(root, "node_modules", name);
const started = Date.now();
/** @type {Counts} */
const total = { passed: 0, failed: 0, skipped: 0 };

try {
  await setUp({ types: true, cuda: true, write: (text) => void process.stdout.write(text) });
  installTestPrograms((text) => void process.stdout.write(text));
  const checks = [
    runCheck("lint", [bin("eslint/bin/eslint.js"), ".", "--max-warnings", "0"]),
    runCheck("types", [bin("typescript/bin/tsc"), "-p", "tsconfig.json"]),
    runCheck("layers", [join(root, "tools/check-layers.mjs")]),
    runCheck("knip", [bin("knip/bin/knip.js"), "--no-progress"]),
  ];
  for (const counts of await Promise.all(checks)) addTo(total, counts);
  const write = (/** @type {string} */ text) => void process.stdout.write(text);
  const everything = process.argv.length === 2;
  if (everything) {
    addTo(total, await runNativeTests(write));
    addTo(total, await runCudaEmulation(write));
    addTo(total, await checkSubset(write));
  }
  addTo(total, await runTests(process.argv.slice(2)));
  if (everything) addTo(total, await checkPackages({ write }));
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
  total.failed++;
}
process.stdout.write(`\n${((Date.now() - started) / 1000).toFixed(0)} s\n`);
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exitCode = total.failed > 0 ? 1 : 0;

/** Runs one check with its output kept back until it fails. @param {string} name @param {string[]} args @returns {Promise<Counts>} */
async function runCheck(name, args) {
  const since = Date.now();
  /** @type {Buffer[]} */
  const output = [];
  const code = await runNode(args, (chunk) => output.push(chunk));
  const seconds = ((Date.now() - since) / 1000).toFixed(1);
  if (code !== 0) process.stdout.write(`${Buffer.concat(output).toString("utf8").trimEnd()}\n`);
  process.stdout.write(`${code === 0 ? "passed" : "FAILED"}: ${name}, ${seconds} s\n`);
  return code === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

/** Runs vitest, shows its output, and counts from its JSON report. @param {string[]} filters @returns {Promise<Counts>} */
async function runTests(filters) {
  const folder = mkdtempSync(join(tmpdir(), "kvquant-test-"));
  const report = join(folder, "report.json");
  try {
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
    const code = await runNode([bin("vitest/vitest.mjs"), "run", ...reporters, ...filters], (chunk) => process.stdout.write(chunk));
    const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(report, "utf8"));
    // A file that does not load, or an error outside tests, fails the run without a failed test: it counts as one.
    const failed = numFailedTests === 0 && code !== 0 ? 1 : numFailedTests;
    return { passed: numPassedTests, failed, skipped: numPendingTests + numTodoTests };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string[]} args @param {(chunk: Buffer) => void} onOutput @returns {Promise<number>} */
function runNode(args, onOutput) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, env: childEnvironment, stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.on("data", onOutput);
    child.stderr.on("data", onOutput);
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}

/** @param {Counts} sum @param {Counts} counts */
function addTo(sum, counts) {
  sum.passed += counts.passed;
  sum.failed += counts.failed;
  sum.skipped += counts.skipped;
}
