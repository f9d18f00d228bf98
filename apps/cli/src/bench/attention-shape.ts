/** Layers and heads of a benchmark's caches: enough that nothing stays in the processor's caches, few enough to fit into memory. */

import type { CacheShape } from "@kvquant/spec";

/** What is asked for. */
export interface AttentionSize {
  readonly headDim: number;
  /** Query heads of a KV head. */
  readonly group: number;
  readonly tokens: number;
}

/** Bits a value of the smallest compressed cache. */
const fewestBits = 2.2;
/** The fp16 cache holds at least so many times what is asked of every cache. */
const leastExactShare = 4;
/** KV heads of a layer, where the tokens are not so many that fewer are enough. */
const mostKvHeads = 4;

/** The smallest shape in which every cache, the smallest compressed one too, holds about `leastBytes`. */
export function chooseAttentionShape({ headDim, group, tokens }: AttentionSize, leastBytes: number): CacheShape {
  const wanted = leastBytes * Math.max(leastExactShare, 16 / fewestBits);
  const heads = Math.ceil(wanted / exactHeadBytes(headDim, tokens));
  const kvHeads = Math.min(mostKvHeads, heads);
  return { layers: Math.ceil(heads / kvHeads), queryHeads: kvHeads * group, kvHeads, headDim };
}

/** Bytes of an fp16 cache. */
export function exactBytes({ layers, kvHeads, headDim }: CacheShape, tokens: number): number {
  return layers * kvHeads * exactHeadBytes(headDim, tokens);
}

function exactHeadBytes(headDim: number, tokens: number): number {
  return tokens * headDim * 2 * 2;
}
