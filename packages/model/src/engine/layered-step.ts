/** A native step in parts, for caches that attend by themselves: dense products of all sequences together, the cache's attention between them. */

import type { KvCache } from "@kvquant/cache";
import type { NativeModel } from "@kvquant/cpu";
import type { ModelConfig } from "../config/model-config.js";
import type { ForwardOptions } from "./engine.js";
import { throwIfAborted } from "./throw-if-aborted.js";

/** A sequence of the step, and its rows of the batch. */
export interface LayeredSequence {
  readonly cache: KvCache;
  readonly rows: number;
}

/** What a step is made of. */
export interface LayeredStep {
  readonly native: NativeModel;
  readonly config: ModelConfig;
  /** In the order of the rows. */
  readonly sequences: readonly LayeredSequence[];
  /** `[rows, width]` */
  readonly embeddings: Float32Array;
  /** Final normalised hidden states `[rows, width]` are written here. */
  readonly hidden: Float32Array;
}

/**
 * Runs the step. The attentions of a layer start together, so that caches which share launches do; all of them have ended when it returns or throws.
 * On error the caches hold tokens of some layers only: bring them back with {@link checkpointAll}.
 */
export async function runLayeredStep({ native, config, sequences, embeddings, hidden }: LayeredStep, options: ForwardOptions = {}): Promise<void> {
  const { layers, queryHeads, kvHeads, headDim } = config;
  const rows = sequences.reduce((sum, sequence) => sum + sequence.rows, 0);
  const queryCols = queryHeads * headDim;
  const keyCols = kvHeads * headDim;
  const query = new Float32Array(rows * queryCols);
  const attention = new Float32Array(query.length);
  const key = new Float32Array(rows * keyCols);
  const value = new Float32Array(key.length);
  await native.begin(embeddings, rows);
  for (let layer = 0; layer < layers; layer++) {
    throwIfAborted(options.signal);
    await native.project(layer, { query, key, value });
    let next = 0;
    const attends = sequences.map(async ({ cache, rows: count }) => {
      const first = next;
      next += count;
      const part = (data: Float32Array, cols: number) => ({ data: data.subarray(first * cols, (first + count) * cols), rows: count, cols });
      const store = cache.layer(layer);
      store.append(part(key, keyCols), part(value, keyCols));
      await store.attend(part(query, queryCols), part(attention, queryCols));
    });
    const failed = (await Promise.allSettled(attends)).find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    await native.finishLayer(layer, attention);
    options.onLayer?.(layer + 1);
  }
  await native.hidden(hidden);
}

/** Returns a function that brings all caches back to what they hold now; one that cannot be, such as a disposed one, does not keep it from the others. */
export function checkpointAll(caches: readonly KvCache[]): () => void {
  const restores = caches.map((cache) => cache.checkpoint());
  return () => {
    const failures: unknown[] = [];
    for (const restore of restores) {
      try {
        restore();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  };
}
