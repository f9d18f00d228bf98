/** What every part of the suite runs on. */

import type { SuiteModel } from "./suite-model.js";
import type { SuiteRun } from "./suite-run.js";
import type { UnitRunner } from "./suite-units.js";

/** The model, the rows of every table (fp16 first), and what runs and keeps units. */
export interface SuiteContext {
  readonly model: SuiteModel;
  readonly runs: readonly SuiteRun[];
  readonly units: UnitRunner;
  readonly signal: AbortSignal | undefined;
}
