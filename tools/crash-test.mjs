// Kills a loaded engine at random moments and looks at what the next one finds: `node tools/crash-test.mjs [rounds] [seed]`, 20 rounds by default.
// The engine is the real one, with the model `tiny` and its pages in an LMDB store. Every text must equal the one computed without store and reuse; every fourth round also changes bytes of records.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { root, setUp } from "./setup.mjs";

/** @typedef {{ rounds: number, answers: number, wrong: number, withHits: number, hits: number, cachedTokens: number, damagedByTest: number, damagedFound: number, failures: string[] }} CrashCounts */

/**
 * Runs the rounds; packages must be built.
 * @param {{ rounds: number, seed?: number, write?: (text: string) => void }} options
 * @returns {Promise<CrashCounts>}
 */
export async function runCrashTest({ rounds, seed = 1, write = () => {} }) {
  const folder = mkdtempSync(join(tmpdir(), "kvquant-crash-"));
  /** @type {CrashCounts} */
  const counts = { rounds, answers: 0, wrong: 0, withHits: 0, hits: 0, cachedTokens: 0, damagedByTest: 0, damagedFound: 0, failures: [] };
  try {
    const prepared = await runChild(["prepare", folder]);
    if (prepared.last["event"] !== "prepared") throw new Error(`crash test: preparing failed: ${prepared.errors}`);
    for (let round = 0; round < rounds; round++) {
      let changed = 0;
      if (round % 4 === 2) {
        const { last, errors } = await runChild(["damage", folder, String(seed + round)]);
        if (last["event"] !== "damaged") counts.failures.push(`round ${round}: the store could not be opened to damage it: ${errors}`);
        changed = Number(last["changed"] ?? 0);
        counts.damagedByTest += changed;
      }
      // At any moment from the first request on: the first round also has writes under way that nothing was read before.
      const milliseconds = Math.floor(Math.random() * 1_500);
      // Every second round begins to count once there were answers, so that a slow machine, too, leaves records to damage and to find.
      const { last, answers, wrong, cached, opened, code, errors } = await runChild(["load", folder, String(seed + round)], milliseconds, round % 2 === 1 ? 8 : 0);
      if (!opened || code !== null) counts.failures.push(`round ${round}: ended by itself with code ${code}: ${errors}`);
      counts.answers += answers;
      counts.wrong += wrong;
      counts.cachedTokens += cached;
      const hits = Number(last["hits"] ?? 0);
      counts.hits += hits;
      if (hits > 0) counts.withHits++;
      counts.damagedFound += Number(last["damaged"] ?? 0);
      write(`round ${round + 1}: killed after ${milliseconds} ms, ${answers} answers, ${wrong} wrong, ${hits} prefixes from the store, ${Number(last["written"] ?? 0)} records written${changed > 0 ? `, ${changed} damaged before, ${last["damaged"]} met and dropped` : ""}\n`);
    }
    // One more, not killed before every request was asked for: the store that all the kills left gives hits and the right texts.
    const final = await runChild(["load", folder, String(seed + rounds)], 200, 48);
    counts.answers += final.answers;
    counts.wrong += final.wrong;
    counts.hits += Number(final.last["hits"] ?? 0);
    if (Number(final.last["hits"] ?? 0) === 0) counts.failures.push("after the last kill no prefix came back from the store");
    if (final.code !== null) counts.failures.push(`the last process ended by itself with code ${final.code}: ${final.errors}`);
    write(`after the last kill: ${final.answers} answers, ${final.wrong} wrong, ${final.last["hits"]} prefixes from the store\n`);
    return counts;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Runs the child; with `milliseconds` it is killed with SIGKILL so long after it opened its store and gave `least` answers.
 * @param {string[]} args @param {number} [milliseconds] @param {number} [least]
 */
async function runChild(args, milliseconds, least = 0) {
  const child = spawn(process.execPath, [join(root, "tools/crash-test-child.mjs"), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (chunk) => void (errors += String(chunk)));
  const ended = new Promise((resolve) => child.on("close", resolve));
  /** @type {Record<string, unknown>} */
  let last = {};
  let answers = 0;
  let wrong = 0;
  let cached = 0;
  let opened = false;
  let timed = false;
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.endsWith("}")) continue; // cut off by the kill
    last = JSON.parse(line);
    if (last["event"] === "open") opened = true;
    if (last["event"] === "answer") {
      answers++;
      cached += Number(last["cached"]);
      if (last["good"] !== true) wrong++;
    }
    if (milliseconds !== undefined && opened && !timed && answers >= least) {
      timed = true;
      setTimeout(() => child.kill("SIGKILL"), milliseconds);
    }
  }
  await ended;
  return { last, answers, wrong, cached, opened, code: child.exitCode, errors: errors.trim().split("\n").slice(-4).join("\n") };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (!process.argv.includes("--built")) await setUp();
  const [rounds = "20", seed = "1"] = process.argv.slice(2);
  const counts = await runCrashTest({ rounds: Number(rounds), seed: Number(seed), write: (text) => void process.stdout.write(text) });
  for (const failure of counts.failures) process.stdout.write(`FAILED: ${failure}\n`);
  process.stdout.write(
    `${counts.rounds} kills: ${counts.answers} answers, ${counts.wrong} wrong, ${counts.hits} prefixes from the store (in ${counts.withHits} of ${counts.rounds} rounds), ${counts.cachedTokens} prompt tokens not computed again, ${counts.damagedByTest} records damaged on purpose, ${counts.damagedFound} met and dropped\n`,
  );
  process.exitCode = counts.wrong > 0 || counts.failures.length > 0 ? 1 : 0;
}
