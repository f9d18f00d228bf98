/** From trials to the figures of a retrieval task. */

import { createRunningMean, wilsonInterval } from "../metrics/index.js";
import type { RetrievalPlan, TrialUnit } from "./retrieval-units.js";
import type { RetrievalRow, RetrievalSection } from "./suite-report.js";
import type { SuiteRun } from "./suite-run.js";

/** Below this share of fp16 a length says nothing about caches. */
const CONCLUSIVE_SHARE = 0.8;

/** One run's trials, in the plan's order. */
export interface RunTrials {
  readonly run: SuiteRun;
  readonly units: readonly TrialUnit[];
}

/** The section of one task and length; the first run is fp16. */
export function summarizeRetrieval({ part, length, trials }: RetrievalPlan, results: readonly RunTrials[]): RetrievalSection {
  const exact = results[0]!.units;
  const depths = [...new Set(trials.map(({ depth }) => depth))].sort((a, b) => a - b);
  const rows = results.map(({ run, units }): RetrievalRow => {
    const logProbability = createRunningMean();
    const change = createRunningMean();
    for (const [index, unit] of units.entries()) {
      logProbability.add(unit.logProbability);
      change.add(unit.logProbability - exact[index]!.logProbability);
    }
    const passed = units.filter((unit) => unit.passed).length;
    return {
      cache: run.cache.name,
      tail: run.tail,
      trials: units.length,
      passed,
      share: passed / units.length,
      interval: wilsonInterval(passed, units.length),
      logProbability: logProbability.mean,
      logProbabilityError: logProbability.standardError,
      logProbabilityChange: change.mean,
      logProbabilityChangeError: change.standardError,
      byDepth: depths.map((depth) => {
        const here = units.filter((_, index) => trials[index]!.depth === depth);
        return { depth, trials: here.length, passed: here.filter((unit) => unit.passed).length, logProbability: here.reduce((sum, unit) => sum + unit.logProbability, 0) / here.length };
      }),
    };
  });
  return { part, length, promptTokens: trials.reduce((sum, { prompt }) => sum + prompt.length, 0) / trials.length, conclusive: rows[0]!.share >= CONCLUSIVE_SHARE, rows };
}
