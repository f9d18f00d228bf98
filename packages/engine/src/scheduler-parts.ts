/** What a scheduler is made of and tells. */

import type { KvCache } from "@kvquant/cache";
import type { LanguageModel } from "@kvquant/model";

import type { CacheCost } from "./cache-cost.js";
import type { EngineEvent } from "./engine-event.js";
import type { PrefixChain } from "./prefix-chain.js";
import type { ResumePoint, ResumePoints } from "./resume-points.js";
import type { Sequence } from "./sequence.js";
import type { SplicePlan } from "./splice-pages.js";
import type { StepRunner } from "./step-runner.js";

/** What a scheduler is made of. */
export interface SchedulerParts {
  readonly model: LanguageModel;
  readonly chain: PrefixChain;
  readonly points: ResumePoints;
  readonly cost: CacheCost;
  readonly runner: StepRunner;
  readonly createCache: () => KvCache;
  readonly limits: { readonly cacheBytes: number; readonly stepTokens: number; readonly maxSequences: number; readonly maxWaiting: number; readonly snapshotTokens: number };
  /** Bytes of shared tables. */
  readonly tableBytes: number;
  readonly emit: (event: EngineEvent) => void;
  readonly hooks: SchedulerHooks;
}

/** What the engine's other parts do at certain moments. */
export interface SchedulerHooks {
  /** Looks for a longer prefix than `held` tokens in the second tier and adds it to the points; undefined when there is no second tier. */
  readonly fetch?: ((sequence: Sequence, held: number) => Promise<void>) | undefined;
  /** A resume point was added. */
  readonly onPoint?: ((point: ResumePoint) => void) | undefined;
  /** Plans to move the document that a request names, from where it is cached. */
  readonly planSplice?: ((sequence: Sequence) => SplicePlan | undefined) | undefined;
  /** A sequence is done; `point` holds its cache where one was left. Before its last part is handed out. */
  readonly onFinish?: ((sequence: Sequence, point: ResumePoint | undefined) => void) | undefined;
}

/** Totals since the start. */
export interface SchedulerTotals {
  promptTokens: number;
  cachedTokens: number;
  generatedTokens: number;
  steps: number;
  preemptions: number;
  cancelled: number;
  failed: number;
  finished: number;
  saturated: number;
  clamped: number;
}
