/** Trials to run, and what is kept of them. */

import type { Trial } from "./retrieval-task.js";
import type { RetrievalPart } from "./suite-options.js";

/** What is kept of one trial with one cache. */
export interface TrialUnit {
  /** What the model wrote. */
  readonly text: string;
  readonly passed: boolean;
  /** Of the right answer after the prompt, teacher-forced, nats. */
  readonly logProbability: number;
}

/** The trials of one task at one length. */
export interface RetrievalPlan {
  readonly part: RetrievalPart;
  readonly length: number;
  readonly trials: readonly (Trial & { readonly depth: number })[];
}
