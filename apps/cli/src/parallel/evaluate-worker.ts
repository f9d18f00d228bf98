/** A worker thread that evaluates some caches with a model of its own; started by evaluate-in-workers.ts. */

import { evaluateCaches } from "@kvquant/eval";
import { withQuantizers } from "../with-quantizers.js";
import { answerTask } from "./worker-messages.js";
import type { ModelTask } from "./worker-messages.js";

/** What a worker is given. */
export interface EvaluateTask extends ModelTask {
  readonly tokens: Int32Array;
  readonly context: number;
  readonly windows: number | undefined;
  readonly tails: readonly number[];
  readonly bytesAtTokens: number | undefined;
  readonly referenceFolder: string;
}

await answerTask<EvaluateTask, Awaited<ReturnType<typeof evaluateCaches>>>((task, { model, quantizers, caches, onShare, onNotice }) =>
  evaluateCaches(withQuantizers(model, quantizers), {
    ...task,
    caches,
    onNotice,
    onProgress: ({ done, total, stage, cache, tail }) => onShare(done / total, tail === undefined ? stage : `${stage} ${cache}, tail ${tail}`),
  }),
);
