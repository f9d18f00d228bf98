/** Native caches filled with synthetic tokens, without a model. */

import { createNativeCache } from "@kvquant/cpu";
import type { NativeKvCache, NativeThreads } from "@kvquant/cpu";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";
import { syntheticRope } from "./synthetic-layer.js";
import type { SyntheticLayer } from "./synthetic-layer.js";
import type { SyntheticTokens } from "./synthetic-tokens.js";
import { throwIfAborted } from "./throw-if-aborted.js";

/** First tokens kept exact, and the newest ones that are. */
export const sinkTokens = 1;
export const tailTokens = 64;

/** An empty cache with the same quantizers in every layer, or of fp16. */
export function createSyntheticCache(shape: CacheShape, layer: SyntheticLayer | "fp16", threads: NativeThreads): NativeKvCache {
  return createNativeCache({
    shape,
    rope: syntheticRope(shape.headDim),
    layers: layer === "fp16" ? "fp16" : new Array(shape.layers).fill(layer.plan),
    sinkTokens,
    tailTokens,
    threads,
  });
}

/** How a cache is filled. */
export interface FillOptions {
  readonly tokens: SyntheticTokens;
  /** Length to fill up to. */
  readonly length: number;
  readonly signal: AbortSignal;
  readonly onShare?: (share: number) => void;
  /** Made by `createFillBuffers`; default: new ones. */
  readonly buffers?: FillBuffers;
}

/** Keys and values on their way into a cache. */
export interface FillBuffers {
  readonly chunkTokens: number;
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** Values appended at once: keeps what is exact for a while small beside the pages. */
const chunkValues = 8 << 20;
const mostChunkTokens = 16_384;

/** Room for one chunk of tokens, resident from the start. */
export function createFillBuffers(columns: number): FillBuffers {
  const chunkTokens = Math.max(PAGE_TOKENS, Math.min(mostChunkTokens, Math.floor(chunkValues / columns / PAGE_TOKENS) * PAGE_TOKENS));
  return { chunkTokens, keys: new Float32Array(chunkTokens * columns).fill(1), values: new Float32Array(chunkTokens * columns).fill(1) };
}

/** Fills every layer up to `length` with the same tokens, and closes the pages that the last token sees compressed. */
export async function fillCache(cache: NativeKvCache, { tokens, length, signal, onShare, buffers = createFillBuffers(tokens.columns) }: FillOptions): Promise<void> {
  const { layers, queryHeads, headDim } = cache.shape;
  const { columns } = tokens;
  const { chunkTokens, keys, values } = buffers;
  const query = { data: new Float32Array(queryHeads * headDim), rows: 1, cols: queryHeads * headDim };
  const out = { ...query, data: new Float32Array(query.cols) };
  const hasPages = cache.paths().filter(({ side }) => side === "key").map(({ bits }) => bits !== 16);
  for (let first = cache.length; first < length; first += chunkTokens) {
    const rows = Math.min(chunkTokens, length - first);
    tokens.fill(first, rows, { keys, values });
    const k = { data: keys.subarray(0, rows * columns), rows, cols: columns };
    const v = { data: values.subarray(0, rows * columns), rows, cols: columns };
    for (let index = 0; index < layers; index++) {
      throwIfAborted(signal);
      const layer = cache.layer(index);
      layer.append(k, v);
      // Pages close when they are first read; an fp16 layer has none.
      if (hasPages[index]!) await layer.attend(query, out);
      onShare?.((first + (rows * (index + 1)) / layers) / length);
    }
  }
}
