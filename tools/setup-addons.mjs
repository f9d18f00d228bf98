// The native addons of a checkout: which of them this machine wants, and compiling them.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Packages with an addon, and the folders of native/ that each is compiled from. */
export const addonSources = /** @type {const} */ ({
  cpu: ["include", "ops", "runtime", "node"],
  cuda: ["include", "ops", "runtime", "cuda-node", "cuda"],
});

/** @typedef {keyof typeof addonSources} AddonName */

/** Where Linux shows that a driver is there: its kernel module, or its place in the Linux of Windows. */
const driverSigns = ["/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"];

/**
 * Whether somebody may use CUDA here: a driver is there, or `KVQUANT_CUDA_DRIVER` names another one.
 * @param {{ exists?: (path: string) => boolean, environment?: NodeJS.ProcessEnv }} [options] for tests
 */
export function wantsCuda({ exists = existsSync, environment = process.env } = {}) {
  return (environment["KVQUANT_CUDA_DRIVER"] ?? "") !== "" || driverSigns.some(exists);
}

/** Whether the addon of a package has been built. @param {string} root @param {AddonName} name */
export function isBuilt(root, name) {
  return existsSync(join(root, "packages", name, "build", "Release", `kvquant_${name}.node`));
}

/**
 * Compiles addons. A machine that cannot is told so, and goes on without them.
 * @param {string} root @param {readonly AddonName[]} names
 * @param {{ write: (text: string) => void, runStep: (title: string, command: string[], cwd?: string) => Promise<void> }} io
 * @returns {Promise<AddonName[]>} those that could not be built
 */
export async function buildAddons(root, names, { write, runStep }) {
  /** @type {AddonName[]} */
  const failed = [];
  try {
    if (names.length > 0 && !hasCompiler() && process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) {
      await runStep("installing a C++ compiler", ["sh", "-c", "apt-get update -q && apt-get install -y -q g++ make python3"]);
    }
  } catch (error) {
    write(`${messageOf(error)}\n`); // compiling will tell what is missing
  }
  for (const name of names) {
    try {
      await runStep(`compiling the native addon of @kvquant/${name}`, [process.execPath, join(root, "packages", "cpu", "scripts", "build-addon.mjs")], join(root, "packages", name));
    } catch (error) {
      failed.push(name);
      write(`${messageOf(error)}\nsetup: going on without the addon of @kvquant/${name}: other backends are used, and its tests are skipped\n`);
    }
  }
  return failed;
}

function hasCompiler() {
  return ["c++", "make"].every((program) => spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0);
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
