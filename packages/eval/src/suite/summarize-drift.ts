/** From continuations to the figures of a drift row. */

import { createRunningMean } from "../metrics/index.js";
import type { Continuation, ReferenceContinuation } from "./drift-units.js";
import { unpackBytes, unpackFloat64 } from "./pack-numbers.js";
import type { DriftRow, DriftSteps } from "./suite-report.js";
import type { SuiteRun } from "./suite-run.js";

/** Ranges the steps are shown in. */
const RANGES = 8;

/** Continuations of the same prompts by fp16 and by a cache. */
export interface DriftFigures {
  readonly references: readonly ReferenceContinuation[];
  readonly continuations: readonly Continuation[];
  /** Tokens of a continuation at most. */
  readonly tokens: number;
}

/** The row of one run. */
export function summarizeDrift({ cache, tail }: SuiteRun, { references, continuations, tokens }: DriftFigures): DriftRow {
  const lines = continuations.map((own, index) => {
    const exact = references[index]!.tokens;
    const differs = exact.findIndex((token, step) => own.free[step] !== token);
    return { length: exact.length, divergence: unpackFloat64(own.divergence), agrees: unpackBytes(own.agrees), equal: exact.map((token, step) => own.free[step] === token), first: differs < 0 ? exact.length : differs };
  });
  const divergence = createRunningMean();
  const equalTokens = createRunningMean();
  const agreement = createRunningMean();
  let agreeing = 0;
  for (const line of lines) {
    for (const value of line.divergence) divergence.add(value);
    divergence.endBatch();
    for (const value of line.agrees) agreeing += value;
    equalTokens.add(line.first);
    agreement.add(line.equal.filter(Boolean).length / line.length);
  }
  return {
    cache: cache.name,
    tail,
    prompts: lines.length,
    steps: divergence.count,
    kldMean: divergence.mean,
    kldError: divergence.batchStandardError,
    top1: agreeing / divergence.count,
    equalTokens: equalTokens.mean,
    equalTokensError: equalTokens.standardError,
    identical: lines.filter((line) => line.first === line.length).length,
    freeAgreement: agreement.mean,
    freeAgreementError: agreement.standardError,
    curve: stepRanges(tokens).flatMap((range) => summarizeRange(lines, range)),
  };
}

interface Line {
  readonly length: number;
  readonly divergence: Float64Array;
  readonly agrees: Uint8Array;
  readonly equal: readonly boolean[];
  /** Steps before the first difference. */
  readonly first: number;
}

function stepRanges(tokens: number): { from: number; to: number }[] {
  const size = Math.ceil(tokens / RANGES);
  return Array.from({ length: Math.ceil(tokens / size) }, (_, index) => ({ from: index * size, to: Math.min(tokens, (index + 1) * size) }));
}

/** Figures of the steps in a range; none where every continuation has ended before it. */
function summarizeRange(lines: readonly Line[], { from, to }: { from: number; to: number }): DriftSteps[] {
  const reaching = lines.filter((line) => line.length > from);
  let steps = 0;
  let divergence = 0;
  let agreeing = 0;
  let equal = 0;
  for (const line of reaching) {
    for (let step = from; step < Math.min(to, line.length); step++) {
      steps++;
      divergence += line.divergence[step]!;
      agreeing += line.agrees[step]!;
      equal += line.equal[step] === true ? 1 : 0;
    }
  }
  if (steps === 0) return [];
  const untilHere = reaching.filter((line) => line.first >= Math.min(to, line.length)).length;
  return [{ from, to, kldMean: divergence / steps, top1: agreeing / steps, equal: equal / steps, untilHere: untilHere / reaching.length }];
}
