/** The sizes that reports state of a cache, taken from caches that were filled. */

import type { KvCache } from "@kvquant/cache";
import { cacheBytesAt } from "./cache-bytes-at.js";

/** Sizes of one cache, or their means over several windows. */
export interface CacheMeasurement {
  /** Bytes of full closed pages times 8, over the values in them; 16 for fp16. */
  readonly bitsPerValue: number | undefined;
  readonly keyBits: number | undefined;
  readonly valueBits: number | undefined;
  /** All allocated bytes over tokens, at the length of a window. */
  readonly cacheBytesPerToken: number;
  /** Bytes at another length by generation's rule (see `cacheBytesAt`), when asked for. */
  readonly cacheBytesAt: { readonly tokens: number; readonly bytes: number } | undefined;
  /** Values that took the end level because no outlier slot was left, over all windows. */
  readonly saturated: number;
  /** Page-local scales that were clamped, over all windows. */
  readonly clamped: number;
}

/** What a filled cache cannot tell. */
export interface MeasurementOptions {
  readonly sinkTokens: number;
  readonly tailTokens: number;
  /** Also account for this length. */
  readonly bytesAtTokens: number | undefined;
}

/** Measures a cache after a window went through it. */
export function measureCache(cache: KvCache, { sinkTokens, tailTokens, bytesAtTokens }: MeasurementOptions): CacheMeasurement {
  const bits = cache.bitsPerValue();
  return {
    bitsPerValue: bits?.mean,
    keyBits: bits?.key,
    valueBits: bits?.value,
    cacheBytesPerToken: cache.bytes().perToken,
    cacheBytesAt: bytesAtTokens === undefined ? undefined : { tokens: bytesAtTokens, bytes: cacheBytesAt(cache, { tokens: bytesAtTokens, tailTokens, sinkTokens }) },
    saturated: cache.saturated,
    clamped: cache.clamped,
  };
}

/** The same of an fp16 cache of `tokens` tokens, from an empty one: its size follows from its length, so that no forward pass is needed. */
export function measureExactCache(empty: KvCache, tokens: number, bytesAtTokens: number | undefined): CacheMeasurement {
  const bytesAt = (length: number): number => cacheBytesAt(empty, { tokens: length, tailTokens: 0, sinkTokens: 0 });
  return {
    bitsPerValue: 16,
    keyBits: 16,
    valueBits: 16,
    cacheBytesPerToken: bytesAt(tokens) / tokens,
    cacheBytesAt: bytesAtTokens === undefined ? undefined : { tokens: bytesAtTokens, bytes: bytesAt(bytesAtTokens) },
    saturated: 0,
    clamped: 0,
  };
}

/** Means over windows of one length, of at least one; saturated and clamped are sums. */
export function averageMeasurements(all: readonly CacheMeasurement[]): CacheMeasurement {
  const first = all[0]!;
  const sum = (read: (one: CacheMeasurement) => number): number => all.reduce((total, one) => total + read(one), 0);
  const mean = (name: "bitsPerValue" | "keyBits" | "valueBits"): number | undefined => (first[name] === undefined ? undefined : sum((one) => one[name]!) / all.length);
  return {
    bitsPerValue: mean("bitsPerValue"),
    keyBits: mean("keyBits"),
    valueBits: mean("valueBits"),
    cacheBytesPerToken: sum((one) => one.cacheBytesPerToken) / all.length,
    cacheBytesAt: first.cacheBytesAt && { tokens: first.cacheBytesAt.tokens, bytes: Math.round(sum((one) => one.cacheBytesAt!.bytes) / all.length) },
    saturated: sum((one) => one.saturated),
    clamped: sum((one) => one.clamped),
  };
}
