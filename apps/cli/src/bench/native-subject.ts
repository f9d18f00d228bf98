/** Our engine with one kind of cache. */

import type { NativeKvCache } from "@kvquant/cpu";
import type { SpeedSubject } from "./speed-subject.js";
import { decodeStep } from "./step-model.js";
import type { StepModel } from "./step-model.js";
import { throwIfAborted } from "./throw-if-aborted.js";

/** How the sequences come about. */
export interface NativeSubjectOptions {
  readonly model: StepModel;
  readonly cache: string;
  readonly batch: number;
  readonly createCache: () => NativeKvCache;
  /** Brings a cache of sequence `sequence` to `length` tokens; true when the model read a prompt. */
  readonly extend: (cache: NativeKvCache, length: number, sequence: number) => Promise<boolean>;
  /** Token of a sequence at a position: what decoding starts from. */
  readonly tokenAt: (position: number, sequence: number) => number;
  readonly signal: AbortSignal;
}

export function createNativeSubject(options: NativeSubjectOptions): SpeedSubject {
  const { model, batch, createCache, extend, tokenAt, signal } = options;
  let caches = Array.from({ length: batch }, createCache);
  const logits = new Float32Array(batch * model.native.shape.vocabulary);
  return {
    engine: model.id,
    cache: options.cache,
    batch,
    isLocal: true,
    async clear() {
      for (const cache of caches) cache.dispose();
      caches = caches.map(createCache);
    },
    async fill(length) {
      let reads = true;
      const started = performance.now();
      for (const [sequence, cache] of caches.entries()) reads = (await extend(cache, length, sequence)) && reads;
      return reads ? (performance.now() - started) / 1000 : undefined;
    },
    async decode(steps) {
      const forks = caches.map((cache) => cache.fork());
      try {
        const tokens = Uint32Array.from(forks, (cache, sequence) => tokenAt(cache.length, sequence));
        // The first step copies what the fork still shares, and comes to cold caches.
        await decodeStep(model, forks, tokens, logits);
        const started = performance.now();
        for (let step = 0; step < steps; step++) {
          throwIfAborted(signal);
          await decodeStep(model, forks, tokens, logits);
        }
        return (performance.now() - started) / 1000;
      } finally {
        for (const fork of forks) fork.dispose();
      }
    },
    async memory() {
      return { cacheBytes: caches.reduce((sum, cache) => sum + cache.bytes().total, 0), processBytes: process.memoryUsage().rss };
    },
    async dispose() {
      for (const cache of caches) cache.dispose();
    },
  };
}
