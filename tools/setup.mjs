// Installs and builds the workspace when something changed since the last time, and otherwise returns at once.
// Needs Node 20+, git and Python 3; pnpm is fetched by npx at the version package.json pins. The native addons need a C++20 compiler and make, which are installed where that is
// possible; without them everything else works, on the reference engine.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { acquireLock } from "./setup-lock.mjs";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const stampFile = join(root, ".turbo", "setup-stamp.json");
const lockFile = join(root, ".turbo", "setup.lock");

/** Environment of every child: no prompts, no telemetry, no download of GPU libraries by onnxruntime-node's install script. */
export const childEnvironment = {
  ...process.env,
  CI: "true",
  ONNXRUNTIME_NODE_INSTALL: "skip",
  TURBO_TELEMETRY_DISABLED: "1",
  TURBO_NO_UPDATE_NOTIFIER: "1",
  DO_NOT_TRACK: "1",
  npm_config_loglevel: "error",
};

/**
 * Brings `node_modules` and every `dist` up to date.
 * @param {{ types?: boolean, write?: (text: string) => void }} [options] `types`: declarations too, which only packing needs and which take most of the time; `write`: where progress goes, default: standard error
 * @returns {Promise<{ installed: boolean, built: boolean, seconds: number }>}
 */
export async function setUp(options = {}) {
  const started = Date.now();
  const write = options.write ?? ((text) => void process.stderr.write(text));
  const result = (/** @type {boolean} */ installed, /** @type {boolean} */ built) => ({ installed, built, seconds: (Date.now() - started) / 1000 });
  checkNode();
  const types = options.types === true;
  const wanted = fingerprints();
  if (isCurrent(wanted, types)) return result(false, false);

  mkdirSync(dirname(lockFile), { recursive: true });
  const release = await acquireLock(lockFile, () => write("setup: waiting for another setup of this checkout to end\n"));
  try {
    const stamp = readStamp();
    const install = stamp.install !== wanted.install || !existsSync(join(root, "node_modules", ".modules.yaml"));
    const build = install || stamp.build !== wanted.build || (types && stamp.types !== wanted.build) || missingOutputs(types).length > 0;
    if (install) {
      rmSync(stampFile, { force: true });
      await runStep("installing packages", [...pnpmCommand(), "install", "--frozen-lockfile"], write);
      writeStamp({ install: wanted.install, ...(stamp.addon === undefined ? {} : { addon: stamp.addon }) });
    }
    const addon = stamp.addon !== wanted.addon || !addons.every(hasAddon);
    const failed = addon ? await buildAddon(write) : undefined;
    if (build) {
      await runStep("building", [...pnpmCommand(), "exec", "turbo", "run", types ? "types" : "build", "--output-logs=errors-only", "--no-daemon", "--concurrency=2"], write);
      const missing = missingOutputs(types);
      if (missing.length > 0) throw new Error(`setup: the build left no ${missing.join(", ")}`);
    }
    const typesOf = types ? wanted.build : stamp.types;
    writeStamp({ ...wanted, ...(typesOf === undefined ? {} : { types: typesOf }), ...(failed === undefined ? {} : { addon: failed }) });
    return result(install, build || addon);
  } finally {
    release();
  }
}

/** The pinned pnpm, through npx. @returns {string[]} */
export function pnpmCommand() {
  const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  if (typeof packageManager !== "string" || !/^pnpm@\d+\.\d+\.\d+$/.test(packageManager)) {
    throw new Error(`setup: package.json should pin packageManager to pnpm@x.y.z, it says ${packageManager}`);
  }
  return [process.platform === "win32" ? "npx.cmd" : "npx", "--yes", packageManager];
}

function checkNode() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 20) throw new Error(`setup: Node 20 or newer is needed, this is ${process.version} at ${process.execPath}; get one from https://nodejs.org`);
}

/** Packages with an addon. */
const addons = ["cpu", "cuda"];

/** Whether the addon of a package has been built. */
export function hasAddon(name = "cpu") {
  return existsSync(join(root, "packages", name, "build", "Release", `kvquant_${name}.node`));
}

/**
 * Compiles the addons. A machine that cannot is told so, and goes on without them.
 * @param {(text: string) => void} write
 * @returns {Promise<string | undefined>} undefined, or what to write into the stamp so that it is tried again with other sources only
 */
async function buildAddon(write) {
  try {
    if (!hasCompiler() && process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) {
      await runStep("installing a C++ compiler", ["sh", "-c", "apt-get update -q && apt-get install -y -q g++ make python3"], write);
    }
    for (const name of addons) {
      await runStep(`compiling the native addon of @kvquant/${name}`, [process.execPath, join(root, "packages", "cpu", "scripts", "build-addon.mjs")], write, join(root, "packages", name));
    }
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    write(`${reason}\nsetup: going on without native addons that could not be built: the reference engine is used, and their tests are skipped\n`);
    return `failed ${fingerprints().addon}`;
  }
}

function hasCompiler() {
  return ["c++", "make"].every((program) => spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0);
}

/** @returns {{ install: string, build: string, addon: string }} hashes of all that an installation and a build depend on */
function fingerprints() {
  const runtime = `${process.platform} ${process.arch} ${process.versions.modules}`;
  const manifests = ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"];
  const sources = [...listFiles(join(root, "tools", "tsup")), ...listFiles(join(root, "tools", "tsconfig")), "turbo.json"];
  for (const folder of workspaceFolders()) {
    manifests.push(`${folder}/package.json`);
    sources.push(`${folder}/tsconfig.json`, `${folder}/tsup.config.ts`);
    sources.push(...listFiles(join(root, folder, "src")).filter((file) => !file.endsWith(".test.ts")));
  }
  const install = hashFiles(manifests, runtime);
  const native = ["include", "ops", "runtime", "node", "cuda-node", "cuda"].flatMap((part) => listFiles(join(root, "native", part)).filter((file) => /\.(h|cpp)$/.test(file)));
  const addon = hashFiles([...native, ...addons.flatMap((name) => [`packages/${name}/binding.gyp`, ...listFiles(join(root, "packages", name, "scripts"))])], runtime);
  return { install, build: hashFiles(sources, install), addon };
}

/** @returns {string[]} such as `packages/spec`, all folders with a package.json */
function workspaceFolders() {
  return ["packages", "apps"].flatMap((group) =>
    readdirSync(join(root, group))
      .sort()
      .map((name) => `${group}/${name}`)
      .filter((folder) => existsSync(join(root, folder, "package.json"))),
  );
}

/** @param {string} folder @returns {string[]} files below it, relative to the root, sorted */
function listFiles(folder) {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(root, join(entry.parentPath, entry.name))).sort();
}

/** @param {string[]} files @param {string} salt */
function hashFiles(files, salt) {
  const hash = createHash("sha256").update(salt);
  for (const file of files) {
    const path = join(root, file);
    hash.update(`\0${file}\0`);
    if (existsSync(path)) hash.update(readFileSync(path));
  }
  return hash.digest("hex");
}

/** @param {boolean} types @returns {string[]} files that package manifests promise and that are not there */
function missingOutputs(types) {
  return workspaceFolders().flatMap((folder) => {
    const { exports = {}, bin = {} } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
    const promised = [...Object.values(exports).flatMap((entry) => (types ? [entry.default, entry.types] : [entry.default])), ...Object.values(bin)];
    return promised.map((path) => join(folder, path)).filter((path) => !existsSync(join(root, path)));
  });
}

/** @param {{ install: string, build: string, addon: string }} wanted @param {boolean} types */
function isCurrent(wanted, types) {
  const stamp = readStamp();
  return (
    stamp.install === wanted.install &&
    stamp.build === wanted.build &&
    (!types || stamp.types === wanted.build) &&
    ((stamp.addon === wanted.addon && addons.every(hasAddon)) || stamp.addon === `failed ${wanted.addon}`) &&
    existsSync(join(root, "node_modules", ".modules.yaml")) &&
    missingOutputs(types).length === 0
  );
}

/** `types`: the build that declarations were made for. @returns {{ install?: string, build?: string, types?: string, addon?: string }} */
function readStamp() {
  if (!existsSync(stampFile)) return {};
  try {
    return JSON.parse(readFileSync(stampFile, "utf8"));
  } catch {
    return {}; // a stamp that cannot be read is no stamp: everything is checked again
  }
}

/** @param {{ install: string, build?: string, types?: string }} stamp */
function writeStamp(stamp) {
  const aside = `${stampFile}.${process.pid}`;
  writeFileSync(aside, JSON.stringify(stamp));
  renameSync(aside, stampFile);
}

/**
 * Runs a command with its output kept back, shows the seconds passing, and prints the output when it fails.
 * @param {string} title @param {string[]} command @param {(text: string) => void} write @param {string} [cwd]
 */
async function runStep(title, command, write, cwd = root) {
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);
  const terminal = process.stderr.isTTY === true;
  const show = () => write(terminal ? `\r\x1b[Ksetup: ${title}, ${seconds()} s` : `setup: ${title}, ${seconds()} s\n`);
  show();
  const timer = setInterval(show, terminal ? 1000 : 10_000);
  /** @type {Buffer[]} */
  const output = [];
  let stop = () => {};
  try {
    const code = await new Promise((resolve, reject) => {
      const child = spawn(/** @type {string} */ (command[0]), command.slice(1), { cwd, env: childEnvironment, stdio: ["ignore", "pipe", "pipe"] });
      child.stdout.on("data", (chunk) => output.push(chunk));
      child.stderr.on("data", (chunk) => output.push(chunk));
      stop = () => void child.kill();
      process.on("SIGTERM", stop);
      child.on("error", reject);
      child.on("close", resolve);
    });
    if (code !== 0) {
      throw new Error(`setup: ${title} failed (exit code ${code}): ${command.join(" ")}\n${Buffer.concat(output).toString("utf8").trimEnd()}`);
    }
  } finally {
    clearInterval(timer);
    process.off("SIGTERM", stop);
    if (terminal) write("\r\x1b[K");
  }
  write(`setup: ${title} done, ${seconds()} s\n`);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    const { installed, built, seconds } = await setUp();
    process.stderr.write(installed || built ? `setup: ready, ${seconds.toFixed(1)} s\n` : `setup: nothing to do, ${seconds.toFixed(2)} s\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
