// Installs and builds the workspace when something changed since the last time, and otherwise returns at once.
// Needs Node 20+, git and Python 3; pnpm is fetched by npx at the version package.json pins. The native addons need a C++20 compiler and make, which are installed where that is
// possible; without them everything else works, on the reference engine. The addon of CUDA is left out on machines without a driver.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { buildAddons, isBuilt, wantsCuda } from "./setup-addons.mjs";
import { acquireLock } from "./setup-lock.mjs";
import { failedBuild, fingerprints, missingOutputs, readStamp, writeStamp } from "./setup-stamp.mjs";

/** @typedef {import("./setup-addons.mjs").AddonName} AddonName */

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
 * Brings `node_modules`, every `dist` and the addons up to date.
 * @param {{ types?: boolean, cuda?: boolean, write?: (text: string) => void }} [options] `types`: declarations too, which only packing needs and which take most of the time;
 *   `cuda`: its addon too, default: where it may be used; `write`: where progress goes, default: standard error
 * @returns {Promise<{ installed: boolean, built: boolean, seconds: number }>}
 */
export async function setUp(options = {}) {
  const started = Date.now();
  const write = options.write ?? ((text) => void process.stderr.write(text));
  const result = (/** @type {boolean} */ installed, /** @type {boolean} */ built) => ({ installed, built, seconds: (Date.now() - started) / 1000 });
  checkNode();
  const types = options.types === true;
  /** @type {AddonName[]} */
  const addons = (options.cuda ?? wantsCuda()) ? ["cpu", "cuda"] : ["cpu"];
  const wanted = fingerprints(root);
  if (isCurrent(wanted, { types, addons })) return result(false, false);

  mkdirSync(dirname(lockFile), { recursive: true });
  const release = await acquireLock(lockFile, () => write("setup: waiting for another setup of this checkout to end\n"));
  try {
    const stamp = readStamp(stampFile);
    const install = stamp.install !== wanted.install || !hasModules();
    const build = install || stamp.build !== wanted.build || (types && stamp.types !== wanted.build) || missingOutputs(root, types).length > 0;
    if (install) {
      rmSync(stampFile, { force: true });
      await runStep("installing packages", [...pnpmCommand(), "install", "--frozen-lockfile"], { write });
      writeStamp(stampFile, { install: wanted.install, ...(stamp.addons === undefined ? {} : { addons: stamp.addons }) });
    }
    const stale = addons.filter((name) => stamp.addons?.[name] !== wanted.addons[name] || !isBuilt(root, name));
    const failed = await buildAddons(root, stale, { write, runStep: (title, command, cwd) => runStep(title, command, { write, cwd }) });
    if (build) {
      await runStep("building", [...pnpmCommand(), "exec", "turbo", "run", types ? "types" : "build", "--output-logs=errors-only", "--no-daemon", "--concurrency=2"], { write });
      const missing = missingOutputs(root, types);
      if (missing.length > 0) throw new Error(`setup: the build left no ${missing.join(", ")}`);
    }
    const typesOf = types ? wanted.build : stamp.types;
    const compiled = Object.fromEntries(stale.map((name) => [name, failed.includes(name) ? failedBuild(wanted.addons[name]) : wanted.addons[name]]));
    writeStamp(stampFile, { install: wanted.install, build: wanted.build, ...(typesOf === undefined ? {} : { types: typesOf }), addons: { ...stamp.addons, ...compiled } });
    return result(install, build || stale.length > 0);
  } finally {
    release();
  }
}

/** @param {import("./setup-stamp.mjs").Fingerprints} wanted @param {{ types: boolean, addons: readonly AddonName[] }} options */
function isCurrent(wanted, { types, addons }) {
  const stamp = readStamp(stampFile);
  return (
    stamp.install === wanted.install &&
    stamp.build === wanted.build &&
    (!types || stamp.types === wanted.build) &&
    addons.every((name) => (stamp.addons?.[name] === wanted.addons[name] && isBuilt(root, name)) || stamp.addons?.[name] === failedBuild(wanted.addons[name])) &&
    hasModules() &&
    missingOutputs(root, types).length === 0
  );
}

function hasModules() {
  return existsSync(join(root, "node_modules", ".modules.yaml"));
}

/** Whether the addon of @kvquant/cpu has been built. */
export function hasAddon() {
  return isBuilt(root, "cpu");
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

/**
 * Runs a command with its output kept back, shows the seconds passing, and prints the output when it fails.
 * @param {string} title @param {string[]} command @param {{ write: (text: string) => void, cwd?: string | undefined }} options
 */
async function runStep(title, command, { write, cwd = root }) {
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
