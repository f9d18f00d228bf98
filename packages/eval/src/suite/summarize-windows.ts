/** From the scores of windows to the figures of a row. */

import { visiblePages } from "@kvquant/cache";
import { createRandom } from "@kvquant/model";
import { PAGE_TOKENS } from "@kvquant/spec";
import { averageMeasurements } from "../cache-measurement.js";
import { BATCH_VALUES, NORMAL_95, bootstrapQuantiles, createRunningMean, createTokenScores } from "../metrics/index.js";
import type { Interval } from "../metrics/index.js";
import { DISTANCE_RANGES, findRange, lastSeenDistances } from "./position-groups.js";
import type { NumberRange } from "./position-groups.js";
import type { GroupScores, ScoreIntervals, WindowRow } from "./suite-report.js";
import type { SuiteRun } from "./suite-run.js";
import { unpackScores } from "./window-scores.js";
import type { WindowScores } from "./window-scores.js";
import type { WindowUnit } from "./window-unit.js";

/** What a row is made from. */
export interface WindowFigures {
  readonly windows: readonly Int32Array[];
  /** One a window. */
  readonly units: readonly WindowUnit[];
  readonly ranges: readonly NumberRange[];
  readonly seed: number;
}

/** The row of one run: figures over all windows, with intervals and breakdowns. */
export function summarizeWindows(run: SuiteRun, { windows, units, ranges, seed }: WindowFigures): WindowRow {
  const all = createTokenScores();
  const agreement = createRunningMean();
  const byPosition = ranges.map(() => createGroup());
  const byDistance = [...DISTANCE_RANGES, undefined].map(() => createGroup());
  const scores = units.map((unit) => unpackScores(unit.scores));
  for (const [index, window] of windows.entries()) {
    const own = scores[index]!;
    const distances = lastSeenDistances(window);
    for (let row = 0; row < own.divergence.length; row++) {
      const agrees = own.agrees[row] === 1;
      all.add({ divergence: own.divergence[row]!, agrees, negativeLogLikelihood: own.negativeLogLikelihood[row]!, referenceNegativeLogLikelihood: own.referenceNegativeLogLikelihood[row]! });
      agreement.add(agrees ? 1 : 0);
      const distance = distances[row]!;
      byPosition[findRange(ranges, row)!]!.add(own, row);
      byDistance[distance === 0 ? DISTANCE_RANGES.length : findRange(DISTANCE_RANGES, distance)!]!.add(own, row);
      // Groups take some tokens of a stretch and leave others, so their batches end with the stretch, not with a count.
      if ((row + 1) % BATCH_VALUES === 0) for (const group of [...byPosition, ...byDistance]) group.endBatch();
    }
    all.endWindow();
    agreement.endBatch();
    for (const group of [...byPosition, ...byDistance]) group.endBatch();
  }
  const summary = all.summarize();
  const { artifact } = run.cache;
  const sinkTokens = artifact === "fp16" ? 0 : artifact.sinkTokens;
  const [kldMedian, kld999] = quantileIntervals(scores, seed);
  return {
    cache: run.cache.name,
    tail: run.tail,
    sinkTokens,
    ...averageMeasurements(units.map(({ measurement }) => measurement)),
    ...summary,
    intervals: {
      perplexity: around(summary.perplexity, summary.perplexityError),
      deltaPerplexity: around(summary.deltaPerplexity, summary.deltaPerplexityError),
      kldMean: around(summary.kldMean, summary.kldError),
      kldMedian,
      kld999,
      top1: around(summary.top1, agreement.batchStandardError),
    },
    byPosition: byPosition.map((group, index) => ({ ...ranges[index]!, ...group.summarize(), compressedShare: compressedShare(ranges[index]!, run.tail, sinkTokens) })),
    byDistance: byDistance.map((group, index) => ({ range: DISTANCE_RANGES[index], ...group.summarize() })),
    secondsPerWindow: units.reduce((sum, { seconds }) => sum + seconds, 0) / units.length,
  };
}

function around(mean: number, error: number | undefined): Interval | undefined {
  return error === undefined ? undefined : { low: mean - NORMAL_95 * error, high: mean + NORMAL_95 * error };
}

/** Of the median and of the 99.9% quantile. */
function quantileIntervals(scores: readonly WindowScores[], seed: number): readonly (ScoreIntervals["kldMedian"] | undefined)[] {
  const values = new Float64Array(scores.reduce((sum, { divergence }) => sum + divergence.length, 0));
  const batches: [number, number][] = [];
  let offset = 0;
  for (const { divergence } of scores) {
    values.set(divergence, offset);
    const end = offset + divergence.length;
    for (; offset < end; offset = Math.min(end, offset + BATCH_VALUES)) batches.push([offset, Math.min(end, offset + BATCH_VALUES)]);
  }
  return bootstrapQuantiles(values, { batches, fractions: [0.5, 0.999], random: createRandom(seed) });
}

function createGroup() {
  // Batches are ended by hand, one a stretch.
  const divergence = createRunningMean(Number.MAX_SAFE_INTEGER);
  const loss = createRunningMean(Number.MAX_SAFE_INTEGER);
  let agreeing = 0;
  return {
    add(scores: WindowScores, row: number): void {
      divergence.add(scores.divergence[row]!);
      loss.add(scores.negativeLogLikelihood[row]! - scores.referenceNegativeLogLikelihood[row]!);
      agreeing += scores.agrees[row]!;
    },
    endBatch(): void {
      divergence.endBatch();
      loss.endBatch();
    },
    summarize(): GroupScores {
      const tokens = divergence.count;
      if (tokens === 0) return { tokens, kldMean: undefined, kldError: undefined, top1: undefined, lossIncrease: undefined, lossIncreaseError: undefined };
      return { tokens, kldMean: divergence.mean, kldError: divergence.batchStandardError, top1: agreeing / tokens, lossIncrease: loss.mean, lossIncreaseError: loss.batchStandardError };
    },
  };
}

/** Mean over the range's queries of compressed tokens over all they see. */
function compressedShare({ from, to }: NumberRange, tail: number | undefined, sinkTokens: number): number {
  if (tail === undefined) return 0;
  const end = to ?? from + 1;
  let sum = 0;
  for (let position = from; position < end; position++) {
    const compressed = tail === 0 ? Math.max(0, position + 1 - sinkTokens) : PAGE_TOKENS * visiblePages(position, { closedPages: 0, openStart: sinkTokens, tailTokens: tail });
    sum += compressed / (position + 1);
  }
  return sum / (end - from);
}
