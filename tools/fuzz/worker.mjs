// The fuzzer's loop, in a thread of its own: the thread that started it sees every input in shared memory, and takes over when this one hangs or runs out of memory.
import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { installHooks } from "./coverage.mjs";
import { createRandom, mutate } from "./mutate.mjs";

/** @typedef {{ bundle: string, counters: number, inputs: string[], words: string[], runs: number, seconds: number, seed: number, shared: SharedArrayBuffer, scratch: string }} FuzzTask */
/** @typedef {{ data: Uint8Array, pairs: readonly [import("./coverage.mjs").Compared, import("./coverage.mjs").Compared][], chosen: number, found: number }} Entry */

/** First 8 bytes of the shared memory: executions, and bytes of the input that follows. */
const inputAt = 8;

const task = /** @type {FuzzTask} */ (workerData);
const coverage = installHooks(task.counters);
/** @type {import("./law.js").FuzzTarget} */
const target = await import(task.bundle);
const state = new Int32Array(task.shared, 0, 2);
const current = new Uint8Array(task.shared, inputAt);
const random = createRandom(task.seed);
const words = task.words.map((word) => Buffer.from(word));
const maximum = Math.min(target.maximumLength ?? 4096, current.length);
const began = performance.now();
/** @type {Entry[]} */
const corpus = [];
let executions = 0;

await fuzz();

async function fuzz() {
  const inputs = task.inputs.map((path) => new Uint8Array(readFileSync(path)));
  // The shortest first, so that of those that reach the same the short ones stay.
  inputs.sort((a, b) => a.length - b.length);
  for (const input of [...inputs, new Uint8Array(0)]) if (!(await execute(input, true))) return;
  while (!isOver()) {
    const entry = choose();
    const other = corpus[random(corpus.length)] ?? entry;
    if (!(await execute(mutate(entry.data, { random, maximum, words, pairs: entry.pairs, other: other.data }), false))) return;
  }
  finish(undefined);
}

function isOver() {
  return (task.runs > 0 && executions >= task.runs) || (task.seconds > 0 && performance.now() - began > task.seconds * 1000);
}

/** Runs one input; false after a finding. @param {Uint8Array} data @param {boolean} known */
async function execute(data, known) {
  current.set(data.subarray(0, current.length));
  Atomics.store(state, 1, Math.min(data.length, current.length));
  Atomics.store(state, 0, ++executions);
  coverage.reset();
  try {
    const waiting = target.fuzz(data);
    if (waiting !== undefined) await waiting;
  } catch (error) {
    finish(error instanceof Error ? `${error.name}: ${error.message}\n${error.stack ?? ""}` : String(error));
    return false;
  }
  const found = coverage.takeNew();
  if (found > 0) {
    corpus.push({ data, pairs: coverage.pairs(), chosen: 0, found });
    if (!known) parentPort?.postMessage({ kind: "input", data });
  }
  return true;
}

/** Inputs that were chosen little so far, and new ones, are more likely. */
function choose() {
  let best = corpus[random(corpus.length)];
  if (random(4) === 0) best = corpus[corpus.length - 1 - random(Math.min(8, corpus.length))];
  for (let turn = 0; turn < 2; turn++) {
    const rival = corpus[random(corpus.length)];
    if (best === undefined || (rival !== undefined && rival.chosen / (rival.found + 1) < best.chosen / (best.found + 1))) best = rival;
  }
  if (best === undefined) throw new Error("fuzz: no input reached anything: is the bundle instrumented?");
  best.chosen++;
  return best;
}

/** @param {string | undefined} finding */
function finish(finding) {
  parentPort?.postMessage({ kind: "end", executions, reached: coverage.reached(), corpus: corpus.length, seconds: (performance.now() - began) / 1000, finding });
}
