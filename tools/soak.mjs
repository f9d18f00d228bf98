// Puts mixed load on `kvquant serve` for a while and watches what it takes: `npm run soak -- --minutes 30`. Writes soak.json and soak.html, and fails for any wrong answer, or memory that grows.
// The server runs with its pages in a store on disk, prefixes shared, sessions and the fidelity monitor; its cache is small, so that pages are evicted and come back all the time.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { createRandom } from "./fuzz/mutate.mjs";
import { root, setUp } from "./setup.mjs";
import { runStep } from "./soak/load.mjs";
import { renderSoak } from "./soak/plot.mjs";

/** @typedef {import("./soak/plot.mjs").SoakSample} SoakSample */
/** @typedef {{ model: string, minutes: number, requests: number, compared: number, kinds: Record<string, number>, errors: string[], warnings: string[], growth: Record<"anonymous" | "heap" | "external", { mebibytes: number, bound: number }>, loopP99: { median: number, largest: number }, server: Record<string, number>, exitCode: number | null, failures: string[], samples: SoakSample[] }} SoakResult `growth`: by a line through the samples after the warm-up, over their time */

/**
 * Mebibytes that a line through the samples of 30 minutes may rise; of shorter runs too, for what is left of them says less. What does rise is the list of pages known to be in the store:
 * about 150 bytes for each page written, up to 262,144 of them (packages/engine/src/spill.ts).
 */
const bounds = { anonymous: 24, heap: 6, external: 6 };
/** Before that share of the time the caches, tables of code and the like still fill. */
const warmUp = 0.3;
/** A trend needs some time to be one. */
const leastMinutes = 5;
const clients = 4;

/** The form of most models' templates, with a place for tools. */
const template = "{% if tools %}{{ tools | tojson }}\n{% endif %}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: <tool_call>";

/**
 * Runs the load; packages must be built.
 * @param {{ minutes: number, model?: string, seed?: number, write?: (text: string) => void }} options
 * @returns {Promise<SoakResult>}
 */
export async function runSoak({ minutes, model = "tiny", seed = 1, write = () => {} }) {
  const folder = mkdtempSync(join(tmpdir(), "kvquant-soak-"));
  const server = await startServer(folder, model);
  try {
    const random = createRandom(seed);
    const text = readFileSync(join(root, "packages/model/models/tiny.txt"), "utf8").slice(0, 20_000);
    /** @type {import("./soak/load.mjs").LoadCounts} */
    const counts = { requests: 0, compared: 0, kinds: {}, errors: [] };
    const context = { url: server.url, model, text, random, counts, known: new Map() };
    const began = performance.now();
    const seconds = () => (performance.now() - began) / 1000;
    const isOver = () => seconds() > minutes * 60;
    /** @type {SoakSample[]} */
    const samples = [];
    const client = async () => {
      while (!isOver()) await runStep(context);
    };
    let told = 0;
    const watch = async () => {
      while (!isOver()) {
        await pause(Math.min(10, minutes * 6) * 1000);
        const sample = { seconds: seconds(), requests: counts.requests, ...(await server.sample()) };
        samples.push(sample);
        for (; told < counts.errors.length; told++) write(`error: ${counts.errors[told]}\n`);
        if (samples.length % 6 === 0) write(`${(sample.seconds / 60).toFixed(1)} min: ${counts.requests} requests, ${counts.compared} answers compared, ${counts.errors.length} errors, ${mebibytes(sample.anonymous)} MiB, heap ${mebibytes(sample.heap)} MiB, loop p99 ${sample.loopP99.toFixed(0)} ms\n`);
      }
    };
    await Promise.all([watch(), ...Array.from({ length: clients }, client)]);
    const figures = await readFigures(server.url);
    const exitCode = await server.close();
    return judge({ model, minutes, ...counts, warnings: server.warnings, server: figures, exitCode, samples });
  } finally {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {Omit<SoakResult, "growth" | "loopP99" | "failures">} run @returns {SoakResult} */
function judge(run) {
  const after = run.samples.filter((sample) => sample.seconds >= warmUp * 60 * run.minutes);
  const span = (after.at(-1)?.seconds ?? 0) - (after[0]?.seconds ?? 0);
  const growthOf = (/** @type {"anonymous" | "heap" | "external"} */ name) => ({ mebibytes: (slope(after.map((sample) => [sample.seconds, sample[name]])) * span) / 2 ** 20, bound: bounds[name] });
  const growth = { anonymous: growthOf("anonymous"), heap: growthOf("heap"), external: growthOf("external") };
  const delays = after.map((sample) => sample.loopP99).sort((a, b) => a - b);
  const failures = [...run.errors, ...run.warnings.map((line) => `logged: ${line}`)];
  if (run.exitCode !== 0) failures.push(`the server ended with code ${run.exitCode}`);
  if (run.minutes >= leastMinutes) for (const [name, { mebibytes: grown, bound }] of Object.entries(growth)) if (grown > bound) failures.push(`${name}: expected a rise of at most ${bound} MiB over ${(span / 60).toFixed(0)} minutes, got ${grown.toFixed(1)}`);
  if ((run.server["failed"] ?? 0) > 0 || (run.server["running"] ?? 0) > 0) failures.push(`expected nothing failed and nothing left running, got ${JSON.stringify(run.server)}`);
  return { ...run, growth, loopP99: { median: delays[Math.floor(delays.length / 2)] ?? 0, largest: delays.at(-1) ?? 0 }, failures };
}

/** Least squares. @param {readonly (readonly [number, number])[]} points */
function slope(points) {
  const mean = (/** @type {0 | 1} */ side) => points.reduce((sum, point) => sum + point[side], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const spread = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
  return spread === 0 ? 0 : points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0) / spread;
}

/** @param {string} folder @param {string} model */
async function startServer(folder, model) {
  writeFileSync(join(folder, "template.jinja"), template);
  const configuration = {
    port: 0,
    models: [{ name: model, source: model, cache: "kvq4", cacheBytes: model === "tiny" ? "6 MiB" : "256 MiB", threads: 1, snapshotTokens: 128, chatTemplate: join(folder, "template.jinja") }],
    store: { path: join(folder, "pages"), bytes: model === "tiny" ? "16 MiB" : "512 MiB" },
    fidelity: { share: 0.05, tokens: 512, threshold: 10 },
    log: { level: "warn", format: "json" },
  };
  writeFileSync(join(folder, "server.json"), JSON.stringify(configuration));
  const environment = { ...process.env, ...(model === "tiny" && { KVQUANT_CACHE: join(folder, "cache") }) };
  const child = spawn(process.execPath, ["--expose-gc", "--import", pathToFileURL(join(root, "tools/soak/probe.mjs")).href, join(root, "apps/cli/dist/main.js"), "serve", "--config", join(folder, "server.json")], { stdio: ["ignore", "pipe", "pipe", "ipc"], env: environment });
  /** @type {string[]} */
  const warnings = [];
  child.stderr?.on("data", (chunk) => void warnings.push(...String(chunk).split("\n").filter((line) => line !== "" && !line.startsWith("stopping;"))));
  /** @type {Promise<number | null>} */
  const ended = new Promise((resolve) => child.on("close", (code) => resolve(code)));
  /** @type {Promise<string>} */
  const listening = new Promise((resolve) => child.stdout?.on("data", (chunk) => {
    const found = /listening on (\S+)/.exec(String(chunk))?.[1];
    if (found !== undefined) resolve(found);
  }));
  const url = await Promise.race([listening, ended.then(() => undefined)]);
  if (url === undefined) throw new Error(`soak: the server ended before it listened: ${warnings.join("\n")}`);
  return {
    url,
    warnings,
    /** @returns {Promise<import("./soak/probe.mjs").ProbeSample>} */
    sample() {
      const answer = new Promise((resolve) => child.once("message", resolve));
      child.send("sample");
      return Promise.race([/** @type {Promise<import("./soak/probe.mjs").ProbeSample>} */ (answer), ended.then((code) => Promise.reject(new Error(`soak: the server ended with code ${code}: ${warnings.slice(-5).join("\n")}`)))]);
    },
    close() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}

/** The engine's own counts at the end, once what clients left has been let go. @param {string} url */
async function readFigures(url) {
  await pause(1000);
  const text = await (await fetch(`${url}/metrics`)).text();
  const names = ["running", "waiting", "failed_total", "cancelled_total", "evictions_total", "preemptions_total", "prompt_tokens_total", "cached_tokens_total", "generated_tokens_total", "store_hits_total", "store_written_total", "store_damaged_total", "store_failed_total", "sessions", "fidelity_samples"];
  return Object.fromEntries(names.map((name) => [name.replace("_total", ""), Number(new RegExp(`^kvquant_${name}\\{[^}]*\\} (\\S+)`, "m").exec(text)?.[1] ?? 0)]));
}

/** @param {number} milliseconds */
function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** @param {number} bytes */
function mebibytes(bytes) {
  return (bytes / 2 ** 20).toFixed(1);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (!process.argv.includes("--built")) await setUp();
  const option = (/** @type {string} */ flag, /** @type {string} */ preset) => (process.argv.includes(flag) ? (process.argv[process.argv.indexOf(flag) + 1] ?? preset) : preset);
  const folder = option("--out", join(root, ".turbo/soak"));
  const minutes = Number(option("--minutes", "30"));
  if (!(minutes > 0)) throw new Error(`soak: expected --minutes above 0, got ${minutes}`);
  const result = await runSoak({ minutes, model: option("--model", "tiny"), seed: Number(option("--seed", "1")), write: (text) => void process.stdout.write(text) });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "soak.json"), `${JSON.stringify(result, undefined, 1)}\n`);
  writeFileSync(join(folder, "soak.html"), renderSoak(result));
  const { requests, compared, kinds, growth, loopP99, server, failures } = result;
  process.stdout.write(`${JSON.stringify({ minutes, requests, compared, kinds, growth, loopP99, server }, undefined, 1)}\n${failures.map((failure) => `FAILED: ${failure}\n`).join("")}${failures.length === 0 ? "passed" : "FAILED"}: soak of ${result.minutes} minutes; soak.json and soak.html in ${folder}\n`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}
