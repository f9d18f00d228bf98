// Programs that some tests need: installed where nobody minds (in CI, as root, with apt-get), and otherwise named, with the tests that are skipped without them.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { childEnvironment } from "./setup.mjs";

/** @typedef {{ commands: string[], debian: string, tests: string }} TestProgram */

/** @type {readonly TestProgram[]} */
const testPrograms = [
  { commands: ["redis-server", "valkey-server"], debian: "redis-server", tests: "the shared page store" },
  { commands: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"], debian: "chromium", tests: "the dashboard, the documentation site and the packages in a browser" },
  { commands: ["nginx"], debian: "nginx", tests: "the nginx gateway" },
  { commands: ["haproxy"], debian: "haproxy", tests: "the HAProxy gateway" },
];

/** Where Debian keeps servers, which is not in everybody's PATH. */
const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];

/** Where one of them is, by its name in Debian; undefined where it is not. @param {string} debian */
export function findProgram(debian) {
  const commands = testPrograms.find((program) => program.debian === debian)?.commands ?? [];
  return commands.flatMap((command) => folders.map((folder) => `${folder}/${command}`)).find((path) => existsSync(path));
}

/** Programs that are not here. */
function missingPrograms() {
  return testPrograms.filter(({ debian }) => findProgram(debian) === undefined);
}

/**
 * Installs what is missing where that is allowed. A person's machine is left alone: these packages bring services that start by themselves.
 * @param {(text: string) => void} write
 */
export function installTestPrograms(write) {
  const missing = missingPrograms();
  if (missing.length === 0) return;
  if (process.env["CI"] !== undefined && process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) {
    const packages = missing.map(({ debian }) => debian);
    write(`tests: installing ${packages.join(", ")}\n`);
    const install = `apt-get update -q && apt-get install -y -q --no-install-recommends ${packages.join(" ")}`;
    const { status, stdout, stderr } = spawnSync("sh", ["-c", install], { env: { ...childEnvironment, DEBIAN_FRONTEND: "noninteractive" }, encoding: "utf8", timeout: 600_000 });
    if (status !== 0) write(`tests: installing failed (${status}):\n${(stdout + stderr).trimEnd().split("\n").slice(-5).join("\n")}\n`);
  }
  for (const { debian, tests } of missingPrograms()) write(`tests: ${debian} is not here: the tests of ${tests} are skipped\n`);
}
