/** What a worker thread tells the thread that started it, and how it answers its task. */

import { parentPort, workerData } from "node:worker_threads";
import { loadCustomQuantizers } from "@kvquant/artifacts";
import type { EvaluatedCache } from "@kvquant/eval";
import { loadModel } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import { decodeArtifact, encodeArtifact } from "@kvquant/quant";
import type { KvqArtifact, Quantizer } from "@kvquant/quant";
import { KvquantError } from "@kvquant/spec";
import type { KvquantErrorCode } from "@kvquant/spec";
import type { EngineSettings } from "../with-model.js";

/** What a worker tells. */
export type WorkerMessage<Report> =
  | { readonly kind: "progress"; readonly share: number; readonly text: string }
  | { readonly kind: "notice"; readonly message: string }
  | { readonly kind: "report"; readonly report: Report }
  | { readonly kind: "error"; readonly code: KvquantErrorCode | undefined; readonly message: string };

/** What every worker is given: a model that is on this machine already, and caches to work on. */
export interface ModelTask {
  readonly model: string;
  /** Engine, instruction set and attention. */
  readonly engine: EngineSettings;
  readonly threads: number;
  readonly caches: readonly { readonly name: string; /** A `.kvq` file. */ readonly artifact: Uint8Array }[];
  /** Files of the user's quantizers. */
  readonly quantizerFiles: readonly string[];
}

/** The compressed ones of `caches` dealt out to at most `jobs` workers, with their parts of the threads; nothing where one alone would do it all. */
export function dealCaches(caches: readonly EvaluatedCache[], { jobs, threads }: { readonly jobs: number; readonly threads: number }): Pick<ModelTask, "caches" | "threads">[] {
  const compressed = caches.flatMap(({ name, artifact }) => (artifact === "fp16" ? [] : [{ name, artifact }]));
  const count = Math.min(jobs, compressed.length);
  if (count <= 1) return [];
  const packed = compressed.map(({ name, artifact }) => ({ name, artifact: encodeArtifact(artifact) }));
  return Array.from({ length: count }, (_, job) => ({ caches: packed.filter((_cache, index) => index % count === job), threads: Math.max(1, Math.floor(threads / count)) }));
}

/** What `answerTask` hands to the work. */
export interface WorkerContext {
  readonly model: LanguageModel;
  readonly quantizers: readonly Quantizer[];
  readonly caches: readonly { readonly name: string; readonly artifact: KvqArtifact }[];
  readonly onShare: (share: number, text: string) => void;
  readonly onNotice: (message: string) => void;
}

/** Runs `work` on the task this worker was started with, and tells its report or its error. */
export async function answerTask<Task extends ModelTask, Report>(work: (task: Task, context: WorkerContext) => Promise<Report>): Promise<void> {
  const tell = (message: WorkerMessage<Report>): void => parentPort?.postMessage(message);
  try {
    const task = workerData as Task;
    await using model = await loadModel(task.model, { ...task.engine, offline: true, threads: task.threads });
    const { quantizers } = await loadCustomQuantizers(task.quantizerFiles);
    const report = await work(task, {
      model,
      quantizers,
      caches: task.caches.map(({ name, artifact }) => ({ name, artifact: decodeArtifact(artifact) })),
      onShare: (share, text) => tell({ kind: "progress", share, text }),
      onNotice: (message) => tell({ kind: "notice", message }),
    });
    tell({ kind: "report", report });
  } catch (error) {
    const known = KvquantError.isInstance(error);
    tell({ kind: "error", code: known ? error.code : undefined, message: known || !(error instanceof Error) ? String((error as Error).message) : (error.stack ?? error.message) });
  }
}
