// Coverage-guided fuzzing of every parser in TypeScript: `npm run fuzz -- gguf --runs 1000000`, `npm run fuzz -- all --seconds 60`; without a name it lists the targets.
// A target is bundled with the packages it tests and instrumented; inputs that reach something new stay in .turbo/fuzz/<target>, and so does a finding.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { root, setUp } from "../setup.mjs";

/** @typedef {{ target: string, executions: number, seconds: number, reached: number, counters: number, corpus: number, finding: string | undefined }} FuzzResult */
/** @typedef {{ kind: "input", data: Uint8Array } | { kind: "end", executions: number, reached: number, corpus: number, seconds: number, finding: string | undefined }} WorkerMessage */

/** An input that takes longer hangs. Generous: the machine may be busy, and the law in `law.ts` measures processor time. */
const hangSeconds = 20;
const sharedBytes = 2 ** 20;
/** A file system in memory, where there is one. */
const memory = "/dev/shm";

const sources = join(root, "tools/fuzz/targets");
export const targets = readdirSync(sources).filter((name) => name.endsWith(".ts")).map((name) => name.slice(0, -3)).sort();

/**
 * Runs one target until one of the limits, or a finding, whose input is kept in a file that the result names.
 * @param {string} target name of a file of `targets`
 * @param {{ runs?: number, seconds?: number, seed?: number, folder?: string }} options `folder`: where inputs are kept; default: nowhere, from the seeds alone
 * @returns {Promise<FuzzResult>}
 */
export async function runFuzzer(target, { runs = 0, seconds = 0, seed = 1, folder }) {
  const { bundleTarget } = await import("./bundle.mjs");
  const work = folder ?? mkdtempSync(join(tmpdir(), "kvquant-fuzz-"));
  const scratch = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), "kvquant-fuzz-"));
  let keep = folder !== undefined;
  try {
    const inputs = join(work, "inputs");
    mkdirSync(inputs, { recursive: true });
    const { plain, instrumented, counters, words } = await bundleTarget(join(sources, `${target}.ts`), work);
    /** @type {import("./law.js").FuzzTarget} */
    const module = await import(pathToFileURL(plain).href);
    for (const data of await module.seeds()) writeInput(inputs, data);
    const files = readdirSync(inputs).map((name) => join(inputs, name));
    const shared = new SharedArrayBuffer(sharedBytes);
    const result = await runWorker({ bundle: pathToFileURL(instrumented).href, counters, inputs: files, words: [...words, ...(module.words ?? [])], runs, seconds, seed, shared, scratch }, (data) => void (keep && writeInput(inputs, data)));
    if (result.finding === undefined) return { target, counters, ...result };
    keep = true;
    const length = new Int32Array(shared, 0, 2)[1] ?? 0;
    const path = writeInput(work, new Uint8Array(shared, 8, length).slice(), "finding-");
    return { target, counters, ...result, finding: `${result.finding}\ninput: ${path}` };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
    if (!keep) rmSync(work, { recursive: true, force: true });
  }
}

/**
 * @param {import("./worker.mjs").FuzzTask} task @param {(data: Uint8Array) => void} onInput
 * @returns {Promise<Omit<FuzzResult, "target" | "counters">>}
 */
function runWorker(task, onInput) {
  const state = new Int32Array(task.shared, 0, 2);
  const began = Date.now();
  return new Promise((resolve, reject) => {
    // Little, so that an input that takes memory without end is met before the machine is short of it.
    const worker = new Worker(new URL("./worker.mjs", import.meta.url), { workerData: task, env: { ...process.env, KVQUANT_FUZZ_SCRATCH: task.scratch }, resourceLimits: { maxOldGenerationSizeMb: 1024 } });
    let corpus = 0;
    let last = 0;
    let quiet = 0;
    /** @param {string} finding */
    const found = (finding) => {
      resolve({ executions: Atomics.load(state, 0), seconds: (Date.now() - began) / 1000, reached: 0, corpus, finding });
      worker.terminate().catch(reject);
    };
    const watch = setInterval(() => {
      const now = Atomics.load(state, 0);
      quiet = now === last ? quiet + 1 : 0;
      last = now;
      if (now > 0 && quiet >= hangSeconds) found(`hangs: no answer within ${hangSeconds} s`);
    }, 1000);
    worker.on("message", (/** @type {WorkerMessage} */ message) => {
      if (message.kind === "input") {
        corpus++;
        return onInput(message.data);
      }
      const { executions, seconds, reached, corpus: kept, finding } = message;
      resolve({ executions, seconds, reached, corpus: kept, finding });
      worker.terminate().catch(reject);
    });
    worker.on("error", (error) => found(`the thread ended: ${error instanceof Error ? error.message : String(error)}`));
    worker.on("exit", () => clearInterval(watch));
  });
}

/** @param {string} folder @param {Uint8Array} data */
function writeInput(folder, data, prefix = "") {
  const path = join(folder, prefix + createHash("sha256").update(data).digest("hex").slice(0, 20));
  writeFileSync(path, data);
  return path;
}

/** One line for people. @param {FuzzResult} result */
export function describeResult({ target, executions, seconds, reached, counters, corpus, finding }) {
  return `${target}: ${executions} executions in ${seconds.toFixed(1)} s, ${reached} of ${counters} places reached, ${corpus} inputs kept, ${finding === undefined ? "no finding" : `FINDING: ${finding}`}\n`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [name, ...rest] = process.argv.slice(2);
  const option = (/** @type {string} */ flag) => (rest.includes(flag) ? Number(rest[rest.indexOf(flag) + 1]) : undefined);
  const chosen = name === "all" ? targets : targets.filter((target) => target === name);
  if (chosen.length === 0) {
    process.stdout.write(`usage: npm run fuzz -- <target | all> [--runs N] [--seconds N] [--seed N]\ntargets: ${targets.join(", ")}\n`);
    process.exitCode = 2;
  }
  if (chosen.length > 0) await setUp();
  const runs = option("--runs");
  const seconds = option("--seconds") ?? (runs === undefined ? 60 : 0);
  for (const target of chosen) {
    const result = await runFuzzer(target, { ...(runs !== undefined && { runs }), seconds, seed: option("--seed") ?? Date.now(), folder: join(root, ".turbo/fuzz", target) });
    process.stdout.write(describeResult(result));
    if (result.finding !== undefined) process.exitCode = 1;
  }
}
