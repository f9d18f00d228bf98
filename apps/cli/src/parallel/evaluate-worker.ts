/** A worker thread that evaluates some caches with a model of its own; started by evaluate-in-workers.ts. */

import { parentPort, workerData } from "node:worker_threads";
import { loadCustomQuantizers } from "@kvquant/artifacts";
import { evaluateCaches } from "@kvquant/eval";
import type { EvaluationReport } from "@kvquant/eval";
import { loadModel } from "@kvquant/model";
import { decodeArtifact } from "@kvquant/quant";
import { KvquantError } from "@kvquant/spec";
import type { KvquantErrorCode } from "@kvquant/spec";
import { withQuantizers } from "../with-quantizers.js";
import type { EngineSettings } from "../with-model.js";

/** What a worker is given. */
export interface WorkerTask {
  /** Name the model is loaded by; it is on this machine already. */
  readonly model: string;
  /** Engine, instruction set and attention. */
  readonly engine: EngineSettings;
  readonly threads: number;
  readonly caches: readonly { readonly name: string; /** A `.kvq` file. */ readonly artifact: Uint8Array }[];
  /** Files of the user's quantizers. */
  readonly quantizerFiles: readonly string[];
  readonly tokens: Int32Array;
  readonly context: number;
  readonly windows: number | undefined;
  readonly tails: readonly number[];
  readonly bytesAtTokens: number | undefined;
  readonly referenceFolder: string;
}

/** What a worker tells. */
export type WorkerMessage =
  | { readonly kind: "progress"; readonly share: number; readonly text: string }
  | { readonly kind: "notice"; readonly message: string }
  | { readonly kind: "report"; readonly report: EvaluationReport }
  | { readonly kind: "error"; readonly code: KvquantErrorCode | undefined; readonly message: string };

const tell = (message: WorkerMessage): void => parentPort?.postMessage(message);

try {
  const task = workerData as WorkerTask;
  await using model = await loadModel(task.model, { ...task.engine, offline: true, threads: task.threads });
  const { quantizers } = await loadCustomQuantizers(task.quantizerFiles);
  const report = await evaluateCaches(withQuantizers(model, quantizers), {
    ...task,
    caches: task.caches.map(({ name, artifact }) => ({ name, artifact: decodeArtifact(artifact) })),
    onNotice: (message) => tell({ kind: "notice", message }),
    onProgress: ({ done, total, stage, cache, tail }) => tell({ kind: "progress", share: done / total, text: tail === undefined ? stage : `${stage} ${cache}, tail ${tail}` }),
  });
  tell({ kind: "report", report });
} catch (error) {
  const known = KvquantError.isInstance(error);
  tell({ kind: "error", code: known ? error.code : undefined, message: known || !(error instanceof Error) ? String((error as Error).message) : (error.stack ?? error.message) });
}
