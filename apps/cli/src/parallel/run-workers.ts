/** Runs a program in several worker threads, all of which end when one of them fails. */

import { Worker } from "node:worker_threads";
import { KvquantError } from "@kvquant/spec";
import type { WorkerMessage } from "./worker-messages.js";

/** What workers run, and who is told of it. */
export interface WorkerRun {
  /** Module that each worker starts; it answers with `WorkerMessage`s. */
  readonly program: URL;
  readonly signal?: AbortSignal;
  /** Heap of each worker at most; default: as V8 has it. */
  readonly heapMebibytes?: number;
  readonly onNotice: (message: string) => void;
  /** Told of the share from 0 to 1 that is done, the mean of all workers, and of what each is at. */
  readonly onShare: (share: number, text: string) => void;
}

/**
 * The reports of all tasks, each of a worker of its own.
 * @throws the first error of any worker; OUT_OF_CAPACITY for one that ran out of memory; UNAVAILABLE for one that ended without a word; CANCELLED when the signal fires
 */
export async function runWorkers<Task, Report>(tasks: readonly Task[], run: WorkerRun): Promise<Report[]> {
  const shares = new Float64Array(tasks.length);
  const texts = new Array<string>(tasks.length).fill("loading");
  const onProgress = (worker: number, share: number, text: string): void => {
    shares[worker] = share;
    texts[worker] = text;
    run.onShare(shares.reduce((sum, value) => sum + value, 0) / tasks.length, texts.join("; "));
  };
  const workers = tasks.map((workerData) => new Worker(run.program, { workerData, ...(run.heapMebibytes !== undefined && { resourceLimits: { maxOldGenerationSizeMb: run.heapMebibytes } }) }));
  try {
    return await Promise.all(workers.map((worker, index) => reportOf<Report>(worker, { ...run, onShare: (share, text) => onProgress(index, share, text) })));
  } finally {
    // Without a report of each there is none of the whole: the others would work for nobody.
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function reportOf<Report>(worker: Worker, { signal, onNotice, onShare }: WorkerRun): Promise<Report> {
  return new Promise<Report>((resolve, reject) => {
    const cancel = (): void => reject(new KvquantError("CANCELLED", "evaluation: interrupted"));
    signal?.addEventListener("abort", cancel, { once: true });
    worker.on("message", (message: WorkerMessage<Report>) => {
      if (message.kind === "progress") onShare(message.share, message.text);
      else if (message.kind === "notice") onNotice(message.message);
      else if (message.kind === "report") resolve(message.report);
      else reject(message.code === undefined ? new Error(message.message) : new KvquantError(message.code, message.message));
    });
    worker.on("error", (error) => reject(describeCrash(error)));
    worker.on("exit", (code) => reject(new KvquantError("UNAVAILABLE", `evaluation: expected a report from each worker, got one that ended with code ${code}; try again, or with --jobs 1`)));
    if (signal?.aborted === true) cancel();
  });
}

function describeCrash(error: unknown): unknown {
  if ((error as NodeJS.ErrnoException).code !== "ERR_WORKER_OUT_OF_MEMORY") return error;
  return new KvquantError("OUT_OF_CAPACITY", "evaluation: expected memory for every worker, got one that ran out of it; use fewer with --jobs", { cause: error });
}
