/** One window through one cache: the forward pass that evaluations score. */

import type { KvCache } from "@kvquant/cache";
import { measureCache, measureExactCache } from "./cache-measurement.js";
import type { CacheMeasurement } from "./cache-measurement.js";
import { checkNumbers } from "./check-numbers.js";
import type { EvaluatedCache } from "./evaluated-cache.js";
import type { EvaluationModel } from "./evaluation-model.js";
import type { ReferenceResult, ReferenceStore } from "./reference-store.js";
import { throwIfCancelled } from "./throw-if-cancelled.js";

/** An empty cache for whole windows: with a tail by the rule of generation, with tail 0 every token after the sinks is seen compressed. */
export function openWindowCache(model: EvaluationModel, { artifact, quantizers }: EvaluatedCache, tail: number): KvCache {
  return model.createCache(artifact === "fp16" ? { artifact } : { artifact, ...(quantizers === undefined ? {} : { quantizers }), tailTokens: tail, quantizeOpenPage: tail === 0 });
}

/** How the reference pass is run. */
export interface ReferencePassOptions {
  readonly store: ReferenceStore | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onStep: () => void;
  /** Called instead of the steps when the result was stored. */
  readonly onSkip: () => void;
}

/** The hidden states of a window with the fp16 cache: from the store, or run now and stored. @throws CORRUPT_DATA for NaN; CANCELLED */
export async function passReference(model: EvaluationModel, window: Int32Array, { store, signal, onStep, onSkip }: ReferencePassOptions): Promise<ReferenceResult> {
  throwIfCancelled(signal, "evaluation");
  const key = { fingerprint: model.fingerprint, engine: model.engine, window, width: model.config.width };
  const stored = await store?.read(key);
  if (stored !== undefined) {
    onSkip();
    return stored;
  }
  // On tiles keys are rounded to fp16 before RoPE, as compressed caches see them; the native fp16 pages round them after it.
  const cache = model.createCache({ artifact: "fp16", attention: "tiles" });
  try {
    const began = performance.now();
    const hidden = await model.forward(window, cache, { signal, onLayer: onStep });
    checkNumbers(`hidden states of ${model.name} with the fp16 cache`, hidden, model.config.width);
    const result = { hidden, seconds: (performance.now() - began) / 1000 };
    await store?.write(key, result);
    return result;
  } finally {
    cache.dispose();
  }
}

/** What a cache's pass is run on. */
export interface CachePassOptions {
  readonly window: Int32Array;
  readonly tail: number;
  /** Stands for the pass of an fp16 cache. */
  readonly reference: ReferenceResult;
  readonly bytesAtTokens: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onStep: () => void;
}

/** A finished pass. */
export interface CachePass {
  /** Final normalised hidden states `[window, width]`. */
  readonly hidden: Float32Array;
  readonly seconds: number;
  readonly measurement: CacheMeasurement;
}

/** The hidden states of a window through a cache, with its sizes. @throws CORRUPT_DATA for NaN; CANCELLED */
export async function passCache(model: EvaluationModel, evaluated: EvaluatedCache, options: CachePassOptions): Promise<CachePass> {
  const { window, tail, reference, bytesAtTokens, signal } = options;
  const { artifact, name } = evaluated;
  throwIfCancelled(signal, "evaluation");
  const cache = openWindowCache(model, evaluated, tail);
  try {
    if (artifact === "fp16") return { ...reference, measurement: measureExactCache(cache, window.length, bytesAtTokens) };
    const began = performance.now();
    const hidden = await model.forward(window, cache, { signal, onLayer: options.onStep });
    const seconds = (performance.now() - began) / 1000;
    checkNumbers(`hidden states of ${model.name} with cache ${name}`, hidden, model.config.width);
    return { hidden, seconds, measurement: measureCache(cache, { sinkTokens: artifact.sinkTokens, tailTokens: tail, bytesAtTokens }) };
  } finally {
    cache.dispose();
  }
}
