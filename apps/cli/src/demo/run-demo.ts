/** The demo itself: calibrate, evaluate with and without a tail, answer with two caches. */

import { openCaches, readTokens } from "@kvquant/artifacts";
import type { NamedCache } from "@kvquant/artifacts";
import type { EvaluationRow } from "@kvquant/eval";
import type { LanguageModel } from "@kvquant/model";
import { check } from "@kvquant/spec";
import { parseCacheChoices } from "../cache-choice.js";
import type { Context } from "../context.js";
import { formatBytes, formatSeconds } from "../format.js";
import { evaluateInWorkers } from "../parallel/evaluate-in-workers.js";
import type { SharedEvaluation } from "../parallel/evaluate-in-workers.js";
import { referenceFolder } from "../reference-folder.js";
import { writeAnswer } from "../write-answer.js";
import { createDemoPrompt } from "./demo-prompt.js";
import type { DemoPrompt } from "./demo-prompt.js";

/** A cache in the demo's table. */
export interface DemoRow {
  readonly cache: string;
  readonly bitsPerValue: number | undefined;
  /** Bytes of the whole cache with {@link DemoReport.bytesAtTokens} tokens. */
  readonly cacheBytes: number | undefined;
  /** With the newest 64 tokens exact, as in generation. */
  readonly tail: EvaluationRow;
  /** With every token compressed. */
  readonly noTail: EvaluationRow;
}

/** What the demo found. */
export interface DemoReport {
  readonly model: string;
  readonly engine: string;
  readonly bytesAtTokens: number;
  /** Tokens of the evaluation window. */
  readonly context: number;
  readonly rows: readonly DemoRow[];
  /** What was asked, shortened. */
  readonly prompt: string;
  readonly answers: readonly DemoAnswer[];
}

/** What one cache answered. */
export interface DemoAnswer {
  readonly cache: string;
  readonly text: string;
  /** Tokens in the cache at the end, and the bytes they take. */
  readonly tokens: number;
  readonly cacheBytes: number;
  readonly tokensPerSecond: number;
}

const cacheList = "fp16,nuq4-1%,nuq3-1%,nuq2-1%,kvq3";
const answeringCaches = ["fp16", "kvq3"];
const windowTokens = 2048;
const tailTokens = 64;
const bytesAtTokens = 8192;
const answerTokens = 32;

/** How the demo runs. */
export interface DemoRunOptions {
  readonly context: Context;
  /** Name the model was loaded by. */
  readonly modelName: string;
  /** What else it was loaded with. */
  readonly engine: SharedEvaluation["engine"];
  /** Caches evaluated side by side. */
  readonly jobs: number;
  readonly threads: number;
  readonly onRows: (report: DemoReport) => void;
}

/** Runs on the text that ships for the model: its first window calibrates, its second is scored. */
export async function runDemo(
  model: LanguageModel,
  options: DemoRunOptions,
): Promise<DemoReport> {
  const { context } = options;
  const length = Math.min(windowTokens, model.config.contextLength);
  const text = await readTokens(model, undefined, "--data");
  check(text.length >= 2 * length, "demo text", `two windows of ${length} tokens`, text.length);
  const caches = await openCaches(model, parseCacheChoices(cacheList), { sinks: 1, sequences: 1, length, sensitivity: "fisher", dataOption: "--data", context });
  const evaluated = await evaluate(model, { ...options, caches, scored: text.subarray(length, 2 * length) });
  const rows = evaluated.filter((row) => row.tail === tailTokens).map((tail) => pairRows(tail, evaluated.find((row) => row.tail === 0 && row.cache === tail.cache)!));
  const prompt = createDemoPrompt(model, text.subarray(length));
  const report: DemoReport = { model: model.name, engine: model.engine, bytesAtTokens, context: length, rows, prompt: prompt.shown, answers: [] };
  options.onRows(report);
  context.print(`\n${prompt.shown}\n`);
  const answers: DemoAnswer[] = [];
  for (const name of answeringCaches) answers.push(await answerWith(model, caches.find((cache) => cache.name === name)!, { prompt, context }));
  return { ...report, answers };
}

async function answerWith(model: LanguageModel, { name, artifact }: NamedCache, options: { prompt: DemoPrompt; context: Context }): Promise<DemoAnswer> {
  const { prompt, context } = options;
  using cache = model.createCache({ artifact, tailTokens });
  context.print(`\n[${name}] `);
  const answer = await writeAnswer(model, cache, { prompt: prompt.tokens, maxTokens: answerTokens, signal: context.signal, onText: (piece) => context.print(piece) });
  const cacheBytes = cache.bytes().total;
  context.print(`\n(${cache.length} tokens in ${formatBytes(cacheBytes)}; first token after ${formatSeconds(answer.firstTokenSeconds)}, then ${answer.tokensPerSecond.toFixed(1)} tokens/s)\n`);
  return { cache: name, text: answer.text, tokens: cache.length, cacheBytes, tokensPerSecond: answer.tokensPerSecond };
}

function pairRows(tail: EvaluationRow, noTail: EvaluationRow): DemoRow {
  return { cache: tail.cache, bitsPerValue: tail.bitsPerValue, cacheBytes: tail.cacheBytesAt?.bytes, tail, noTail };
}

async function evaluate(model: LanguageModel, options: DemoRunOptions & { caches: readonly NamedCache[]; scored: Int32Array }): Promise<readonly EvaluationRow[]> {
  const { caches, scored, context, modelName, engine, jobs, threads } = options;
  const { rows } = await context.progress.run(`evaluating ${caches.length} caches on ${scored.length} tokens, tail 0 and ${tailTokens}`, (update) =>
    evaluateInWorkers(model, {
      jobs,
      modelName,
      engine,
      threads,
      caches,
      tokens: scored,
      context: scored.length,
      windows: 1,
      tails: [0, tailTokens],
      bytesAtTokens,
      referenceFolder: referenceFolder(),
      signal: context.signal,
      onNotice: (message) => context.progress.note(message),
      onShare: update,
    }),
  );
  return rows;
}
