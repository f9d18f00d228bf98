/** A model's speed: our engine with each cache, batches, and the peer. */

import type { NamedCache } from "@kvquant/artifacts";
import { isNativeCache } from "@kvquant/cpu";
import type { NativeKvCache } from "@kvquant/cpu";
import { NativeEngine } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import { check } from "@kvquant/spec";
import { checkCachesMemory } from "./check-memory.js";
import { measureSpeed } from "./measure-speed.js";
import type { SpeedMeasurement } from "./measure-speed.js";
import type { ModelRow } from "./model-report.js";
import { createNativeSubject } from "./native-subject.js";
import { openPeer, peerCaches } from "./peer.js";
import type { SpeedSubject } from "./speed-subject.js";
import { prefill } from "./step-model.js";

/** What is measured of a model loaded with `threads`. */
export interface ModelMeasurement extends Omit<SpeedMeasurement, "shallow"> {
  readonly caches: readonly NamedCache[];
  readonly sinkTokens: number | undefined;
  /** The text that is read, again from its start when it ends. */
  readonly text: Int32Array;
  /** Sequences of the batched rows; 1: none. */
  readonly batch: number;
  /** Path of the GGUF file for the peer; undefined without it. */
  readonly peerPath: string | undefined;
  readonly signal: AbortSignal;
}

/** Tokens between the starts of a batch's sequences, so that no two share a page. */
const sequenceDistance = 997;
/** Tokens that the peer's context has beyond what is asked of it. */
const spareContext = 64;

/** @throws UNSUPPORTED for a cache without native attention, OUT_OF_CAPACITY when the caches do not fit into memory */
export async function measureModel(model: LanguageModel, options: ModelMeasurement): Promise<ModelRow[]> {
  const { caches, text, batch, threads, steps, depths, prompts, peerPath, signal } = options;
  const engine = model.runner;
  check(engine instanceof NativeEngine, "bench model", "the native engine", engine.id);
  checkCachesMemory(model.config, caches.map(({ name }) => name), { tokens: Math.max(...depths, ...prompts), batch });
  const tokenAt = (position: number, sequence = 0): number => text[(position + sequence * sequenceDistance) % text.length]!;
  const createSubject = ({ name, artifact }: NamedCache, sequences: number): SpeedSubject =>
    createNativeSubject({
      model: engine,
      cache: name,
      batch: sequences,
      createCache: () => createNative(model, { name, artifact }, options.sinkTokens),
      async extend(cache, length, sequence) {
        const tokens = Array.from({ length: length - cache.length }, (_, index) => tokenAt(cache.length + index, sequence));
        await prefill(engine, cache, tokens, signal);
        return true;
      },
      tokenAt,
      signal,
    });
  const shallow = createSubject({ name: "fp16", artifact: "fp16" }, 1);
  const subjects: SpeedSubject[] = [];
  try {
    for (const cache of caches) subjects.push(createSubject(cache, 1));
    if (batch > 1) for (const cache of caches) subjects.push(createSubject(cache, batch));
    const contextSize = Math.max(...prompts, ...depths) + steps + spareContext;
    if (peerPath !== undefined) for (const cache of peerCaches) subjects.push(await openPeer({ path: peerPath, cache, threads, contextSize, tokenAt, signal }));
    return await measureSpeed(subjects, { ...options, shallow });
  } finally {
    for (const subject of [shallow, ...subjects]) await subject.dispose();
  }
}

function createNative(model: LanguageModel, { name, artifact }: NamedCache, sinkTokens: number | undefined): NativeKvCache {
  const cache = model.createCache({ artifact, sinkTokens, attention: "pages" });
  check(isNativeCache(cache), `bench model: ${name}`, "a native cache", cache.backends().join());
  return cache;
}
