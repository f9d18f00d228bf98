/** Speed of a model of random weights: long caches without reading anything. */

import { createThreads } from "@kvquant/cpu";
import { checkCachesMemory } from "./check-memory.js";
import { measureSpeed } from "./measure-speed.js";
import type { SpeedMeasurement } from "./measure-speed.js";
import type { ModelRow } from "./model-report.js";
import { findShape } from "./model-shapes.js";
import type { ShapeName } from "./model-shapes.js";
import { createNativeSubject } from "./native-subject.js";
import { createRandomModel } from "./random-model.js";
import { createSyntheticCache, fillCache } from "./synthetic-cache.js";
import { fitSyntheticLayer, makeSyntheticStatistics } from "./synthetic-layer.js";
import { makeSyntheticTokens } from "./synthetic-tokens.js";

/** What is measured of a shape. */
export interface RandomMeasurement extends Omit<SpeedMeasurement, "shallow" | "prompts"> {
  /** fp16 or presets. */
  readonly caches: readonly string[];
  /** Sequences of the batched rows; 1: none. */
  readonly batch: number;
  readonly signal: AbortSignal;
}

/** @throws OUT_OF_CAPACITY when the caches do not fit into memory */
export async function measureRandom(shapeName: ShapeName, options: RandomMeasurement): Promise<ModelRow[]> {
  const { caches, batch, threads: threadCount, signal } = options;
  const shape = findShape(shapeName);
  const { kvHeads, headDim } = shape;
  checkCachesMemory(shape, caches, { tokens: Math.max(...options.depths), batch });
  const threads = createThreads(threadCount);
  const statistics = makeSyntheticStatistics({ kvHeads, headDim });
  const tokens = makeSyntheticTokens({ kvHeads, headDim });
  const model = createRandomModel(shape, threads);
  try {
    const createSubject = (name: string, count: number) => {
      const layer = name === "fp16" ? name : fitSyntheticLayer(name, statistics);
      return createNativeSubject({
        model,
        cache: name,
        batch: count,
        createCache: () => createSyntheticCache({ layers: shape.layers, queryHeads: shape.queryHeads, kvHeads, headDim }, layer, threads),
        async extend(cache, length) {
          await fillCache(cache, { tokens, length, signal });
          return false;
        },
        tokenAt: (position, sequence) => (position + sequence) % shape.vocabulary,
        signal,
      });
    };
    const subjects = [...caches.map((name) => createSubject(name, 1)), ...(batch > 1 ? caches.map((name) => createSubject(name, batch)) : [])];
    const shallow = createSubject("fp16", 1);
    try {
      return await measureSpeed(subjects, { ...options, prompts: [], shallow });
    } finally {
      for (const subject of [shallow, ...subjects]) await subject.dispose();
    }
  } finally {
    model.native.dispose();
  }
}
