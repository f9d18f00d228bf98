// Builds and runs native/test/*.test.cpp against the objects the addon was linked from. Each test prints `ok ...` and `not ok ...` lines; this prints the failures and returns the counts.
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runCommand } from "./run-command.mjs";
import { hasAddon, root } from "./setup.mjs";

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

const release = join(root, "packages", "cpu", "build", "Release");
const folder = join(root, "native", "test");

/**
 * @param {(text: string) => void} write
 * @returns {Promise<Counts>} without an addon every test file counts as one skipped test
 */
export async function runNativeTests(write) {
  const names = readdirSync(folder).filter((name) => name.endsWith(".test.cpp")).sort();
  if (!hasAddon()) return { passed: 0, failed: 0, skipped: names.length };
  const objects = ["ops", "runtime"].flatMap((part) =>
    readdirSync(join(release, "native", part), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".o"))
      .map((name) => join(release, "native", part, name)),
  );
  const out = join(root, "native", "build", "test");
  mkdirSync(out, { recursive: true });
  /** @type {Counts} */
  const total = { passed: 0, failed: 0, skipped: 0 };
  const queue = [...names];
  const worker = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const counts = await runTest(name, { out, objects, write });
      total.passed += counts.passed;
      total.failed += counts.failed;
    }
  };
  await Promise.all([worker(), worker()]);
  return total;
}

/** @param {string} name @param {{ out: string, objects: string[], write: (text: string) => void }} options */
async function runTest(name, { out, objects, write }) {
  const program = join(out, name.replace(".test.cpp", ""));
  const started = Date.now();
  const seconds = () => ((Date.now() - started) / 1000).toFixed(1);
  const flags = ["-std=c++20", "-O2", "-Wall", "-Wextra", "-ffp-contract=off", "-pthread", "-I", join(root, "native", "include"), "-I", join(root, "native")];
  const compiled = await run("c++", [...flags, join(folder, name), ...objects, "-o", program]);
  if (compiled.code !== 0) {
    write(`FAILED: native ${name} does not compile\n${compiled.output}\n`);
    return { passed: 0, failed: 1 };
  }
  const { code, output } = await run(program, []);
  const lines = output.split("\n");
  const passed = lines.filter((line) => line.startsWith("ok ")).length;
  const failures = lines.filter((line) => line.startsWith("not ok "));
  // A crash or a silent end fails the run without a failed line: it counts as one.
  const failed = failures.length === 0 && (code !== 0 || passed === 0) ? 1 : failures.length;
  if (failed > 0) write(`${failures.length > 0 ? failures.join("\n") : output}\n`);
  write(`${failed === 0 ? "passed" : "FAILED"}: native ${name}, ${passed} of ${passed + failed}, ${seconds()} s\n`);
  return { passed, failed };
}

/** @param {string} command @param {string[]} args */
function run(command, args) {
  return runCommand(command, args, { cwd: join(root, "native") });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (!existsSync(release)) process.stdout.write("the addon is not built: run `node tools/setup.mjs`\n");
  const { passed, failed, skipped } = await runNativeTests((text) => void process.stdout.write(text));
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  process.exitCode = failed > 0 ? 1 : 0;
}
