/** A worker thread that finishes the units of some caches of a suite; started by run-suite-in-workers.ts, which reads them from the folder they are kept in. */

import { runSuite } from "@kvquant/eval";
import type { SuiteOptions } from "@kvquant/eval";
import { answerTask } from "./worker-messages.js";
import type { ModelTask } from "./worker-messages.js";

/** What a worker is given. */
export interface SuiteTask extends ModelTask {
  /** What the suite is asked to do, without functions. */
  readonly suite: Omit<SuiteOptions, "caches" | "onProgress" | "onNotice" | "signal">;
}

await answerTask<SuiteTask, undefined>(async ({ suite }, { model, quantizers, caches, onShare, onNotice }) => {
  await runSuite(model, { ...suite, caches: caches.map((cache) => ({ ...cache, quantizers })), onNotice, onProgress: ({ done, total, text }) => onShare(done / total, text) });
  return undefined;
});
