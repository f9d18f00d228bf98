/** Runs the fidelity suite in worker threads, each with a model of its own: they finish the units of their caches, and the report is put together from those. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runSuite } from "@kvquant/eval";
import type { FidelityReport, SuiteModel, SuiteOptions } from "@kvquant/eval";
import { runWorkers } from "./run-workers.js";
import type { SuiteTask } from "./suite-worker.js";
import { dealCaches } from "./worker-messages.js";
import type { ModelTask } from "./worker-messages.js";

/** What is run, and how it is shared out. */
export interface SharedSuite extends Omit<SuiteOptions, "onProgress" | "resume"> {
  readonly resume?: boolean | undefined;
  /** Worker threads at most; 1 runs in this thread. */
  readonly jobs: number;
  /** What workers load; `threads` are those of all engines together. */
  readonly worker: Omit<ModelTask, "caches">;
  readonly onShare: (share: number, text: string) => void;
}

/**
 * The report of `runSuite`, its units computed by up to `jobs` workers. Those of fp16 come first, in this thread, and are read by the workers.
 * @throws what `runSuite` throws, of any worker; CANCELLED when the signal fires; OUT_OF_CAPACITY, UNAVAILABLE when a worker dies
 */
export async function runSuiteInWorkers(model: SuiteModel, options: SharedSuite): Promise<FidelityReport> {
  const { jobs, worker, onShare, caches, signal, onNotice, ...suite } = options;
  const deals = dealCaches(caches, { jobs, threads: worker.threads });
  const run = (more: Partial<SuiteOptions> = {}): Promise<FidelityReport> => runSuite(model, { ...suite, caches, signal, onNotice, onProgress: ({ done, total, text }) => onShare(done / total, text), ...more });
  if (deals.length === 0) return run();

  const since = new Date();
  const unitFolder = suite.unitFolder ?? (await mkdtemp(join(tmpdir(), "kvquant-units-")));
  // Units of earlier runs count where the user said so, those of this run always.
  const resumed = { unitFolder, resume: suite.resume === true || since };
  try {
    // Refuses what makes no sense before any worker loads a model.
    await run({ unitFolder, caches: [{ name: "fp16", artifact: "fp16" }], onProgress: ({ text }) => onShare(0, text) });
    const tasks = deals.map((deal): SuiteTask => ({ ...worker, ...deal, suite: { ...suite, ...resumed } }));
    await runWorkers<SuiteTask, undefined>(tasks, {
      program: new URL("./suite-worker.js", import.meta.url),
      ...(signal !== undefined && { signal }),
      onNotice: (message) => onNotice?.(message),
      onShare,
    });
    return await run({ ...resumed, onNotice: undefined });
  } finally {
    if (suite.unitFolder === undefined) await rm(unitFolder, { recursive: true, force: true });
  }
}
