/**
 * Evaluates caches in worker threads, each with a model of its own. A forward pass of the reference engine alternates between JavaScript and
 * products, so that threads inside the products leave processors idle; whole caches side by side do not.
 */

import { evaluateCaches } from "@kvquant/eval";
import type { EvaluationOptions, EvaluationReport } from "@kvquant/eval";
import type { LanguageModel } from "@kvquant/model";
import type { Quantizer } from "@kvquant/quant";
import { withQuantizers } from "../with-quantizers.js";
import type { EvaluateTask } from "./evaluate-worker.js";
import { runWorkers } from "./run-workers.js";
import { dealCaches } from "./worker-messages.js";

/** What is evaluated, and how it is shared out. */
export interface SharedEvaluation extends Omit<EvaluationOptions, "onProgress"> {
  /** Worker threads at most; 1 evaluates in this thread. */
  readonly jobs: number;
  /** Name that workers load the model by. */
  readonly modelName: string;
  /** The user's quantizers, and the files that workers load them from again; default none. */
  readonly quantizers?: readonly Quantizer[];
  readonly quantizerFiles?: readonly string[];
  /** What else workers load the model with. */
  readonly engine: EvaluateTask["engine"];
  /** Threads of all engines together. */
  readonly threads: number;
  readonly tails: readonly number[];
  readonly referenceFolder: string;
  readonly onShare: (share: number, text: string) => void;
}

/**
 * The report of `evaluateCaches`, computed by up to `jobs` workers. The fp16 pass runs first, in this thread, and is read by the workers.
 * @throws what `evaluateCaches` throws, of any worker; CANCELLED when the signal fires; OUT_OF_CAPACITY, UNAVAILABLE when a worker dies
 */
export async function evaluateInWorkers(model: LanguageModel, options: SharedEvaluation): Promise<EvaluationReport> {
  const deals = dealCaches(options.caches, options);
  const evaluated = withQuantizers(model, options.quantizers ?? []);
  if (deals.length === 0) return evaluateCaches(evaluated, { ...options, onProgress: ({ done, total, stage, cache, tail }) => options.onShare(done / total, describeStep(stage, cache, tail)) });

  const exact = await evaluateCaches(evaluated, { ...options, caches: [{ name: "fp16", artifact: "fp16" }], onProgress: ({ stage }) => options.onShare(0, describeStep(stage, "fp16", undefined)) });
  const tasks = deals.map((deal): EvaluateTask => ({ ...taskOf(options), ...deal }));
  const reports = await runWorkers<EvaluateTask, EvaluationReport>(tasks, {
    program: new URL("./evaluate-worker.js", import.meta.url),
    ...(options.signal !== undefined && { signal: options.signal }),
    onNotice: (message) => options.onNotice?.(message),
    onShare: options.onShare,
  });
  const rows = [exact, ...reports].flatMap((report) => report.rows);
  const order = options.tails.flatMap((tail) => options.caches.map(({ name, artifact }) => rows.find((row) => row.tail === tail && row.cache === (artifact === "fp16" ? "fp16" : name))!));
  return { ...exact, rows: order };
}

function taskOf(options: SharedEvaluation): Omit<EvaluateTask, "threads" | "caches"> {
  const { modelName, engine, tokens, context, windows, tails, bytesAtTokens, referenceFolder, quantizerFiles = [] } = options;
  return { model: modelName, engine, quantizerFiles, tokens: Int32Array.from(tokens), context, windows, tails, bytesAtTokens, referenceFolder };
}

function describeStep(stage: string, cache: string, tail: number | undefined): string {
  return `${stage} ${cache}${tail === undefined ? "" : `, tail ${tail}`}`;
}
