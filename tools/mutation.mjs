// `npm run mutation -- codebook`: changes the package's sources one place at a time and sees whether its own tests notice. Prints the survivors and the score; a report is left in
// coverage/mutation/<package>. Results are kept beside it, so that a second run only does what changed (all of it with --force). Further arguments are globs below packages/<name>/src
// to keep to; the tests are then those of the globs' folders, for all tests of a large package take minutes.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root, setUp } from "./setup.mjs";

const [name, ...rest] = process.argv.slice(2);
/** Of Stryker itself, such as --force. */
const flags = rest.filter((argument) => argument.startsWith("--"));
const globs = rest.filter((argument) => !argument.startsWith("--"));
if (name === undefined || !existsSync(join(root, "packages", name, "src"))) {
  process.stderr.write("usage: npm run mutation -- <package> [glob ...], such as codebook, or quant 'numeric/**/*.ts' 'artifact/**/*.ts'\n");
  process.exit(2);
}
await setUp();
const source = `packages/${name}/src`;
const folder = join(root, "coverage", "mutation", name);
mkdirSync(folder, { recursive: true });

/** Folders whose tests run: of each glob, what comes before its first star. */
const folders = globs.length === 0 ? ["."] : globs.map((glob) => dirname(glob.replace(/\*.*/, "x")));
const tests = [...new Set(folders)].map((below) => join(source, below, "**/*.test.ts"));

/** Packages above those that are mutated. */
const unneeded = readdirSync(join(root, "packages")).filter((other) => !["spec", "packing", "codebook", "sparse", "rope", "quant"].includes(other));

const configuration = {
  testRunner: "vitest",
  plugins: ["@stryker-mutator/vitest-runner", join(root, "tools/mutation/ignore-messages.mjs")],
  ignorers: ["error-messages"],
  vitest: { configFile: "tools/mutation/vitest.config.ts", related: false },
  mutate: [...(globs.length === 0 ? ["**/*.ts"] : globs).map((glob) => `${source}/${glob}`), `!${source}/**/*.{test,fixture}.ts`, `!${source}/**/fixtures/**`, `!${source}/testing/**`],
  // Not copied to where the mutants run.
  ignorePatterns: [".*", "apps", "deploy", "docs", "native", "coverage", "tools/*/", "!tools/mutation", "!tools/tsconfig", "packages/*/dist", ...unneeded.map((other) => `packages/${other}`)],
  coverageAnalysis: "perTest",
  dryRunTimeoutMinutes: 20,
  concurrency: 1,
  incremental: true,
  incrementalFile: join(folder, "incremental.json"),
  tempDirName: `coverage/mutation/${name}-sandbox`,
  timeoutMS: 5_000,
  reporters: ["progress-append-only", "clear-text", "json", "html"],
  jsonReporter: { fileName: join(folder, "report.json") },
  htmlReporter: { fileName: join(folder, "report.html") },
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
  allowEmpty: true,
};
const file = join(folder, "stryker.json");
writeFileSync(file, JSON.stringify(configuration, undefined, 2));

const child = spawn(process.execPath, [join(root, "node_modules/@stryker-mutator/core/bin/stryker.js"), "run", file, ...flags], {
  cwd: root,
  env: { ...process.env, KVQUANT_MUTATION_TESTS: JSON.stringify(tests) },
  stdio: "inherit",
});
child.on("close", (code) => (process.exitCode = code ?? 1));
