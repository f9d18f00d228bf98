/** Puts an engine's figures together. */

import type { KvCache } from "@kvquant/cache";
import type { LanguageModel } from "@kvquant/model";
import type { KvqArtifact } from "@kvquant/quant";

import type { CacheCost } from "./cache-cost.js";
import type { EngineStats, LayerStats } from "./engine-stats.js";
import type { Descendant, ResumePoints } from "./resume-points.js";
import type { Scheduler } from "./scheduler.js";
import type { StepRunner } from "./step-runner.js";

/** What figures come from. */
export interface StatsSources {
  readonly model: LanguageModel;
  readonly artifact: KvqArtifact | "fp16";
  readonly scheduler: Scheduler;
  readonly points: ResumePoints;
  readonly cost: CacheCost;
  readonly runner: StepRunner;
  readonly empty: KvCache;
  readonly limits: { readonly cacheBytes: number };
  readonly sessions: number;
}

/** The figures that need no other part of the engine. */
export function collectStats({ model, artifact, scheduler, points, cost, runner, empty, limits, sessions }: StatsSources): EngineStats {
  let pages = 0;
  let tokens = 0;
  const count = (holder: Descendant, held: number): void => {
    const from = holder.parent?.tokens.length ?? 0;
    pages += cost.closedPages(held) - cost.closedPages(from);
    tokens += held - from;
  };
  for (const point of points.all()) count(point, point.tokens.length);
  for (const sequence of scheduler.running) count(sequence, sequence.held);
  const sequenceBytes = scheduler.memory.sequenceBytes();
  return {
    path: runner.path,
    backends: empty.backends(),
    cache: artifact === "fp16" ? "fp16" : artifact.cache,
    running: scheduler.running.length,
    waiting: scheduler.waiting.length,
    cacheBytes: scheduler.memory.usedBytes(),
    cacheLimit: limits.cacheBytes,
    sequenceBytes,
    prefixBytes: points.bytes,
    fp16Bytes: cost.fp16Bytes(tokens),
    ...bits(cost),
    pages,
    tokens,
    resumePoints: points.count,
    sessions,
    ...scheduler.totals,
    evictions: scheduler.memory.evictions,
    layers: artifact === "fp16" ? Array.from({ length: model.shape.layers }, () => EXACT) : artifact.layers.map(({ key, value }) => ({ key: key.id, value: value.id, keyBits: key.bits, valueBits: value.bits })),
  };
}

const EXACT: LayerStats = { key: "fp16", value: "fp16", keyBits: 16, valueBits: 16 };

function bits(cost: CacheCost): Pick<EngineStats, "bitsPerValue"> {
  return cost.bitsPerValue === undefined ? {} : { bitsPerValue: cost.bitsPerValue };
}
