/** What caches will take, before they are filled. */

import { visiblePages } from "@kvquant/cache";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";

import type { ProbePage } from "./probe-pages.js";

/** Header and list entry of a page beside its blocks, at most: native pages are aligned to 64 bytes. */
const PAGE_OVERHEAD = 512;
/** Header of a block of exact tokens. */
const CHUNK_OVERHEAD = 64;

/** Sizes of one kind of cache. */
export interface CacheCost {
  /** Closed pages of a cache with `tokens` tokens that was filled in order. */
  closedPages(tokens: number): number;
  /** Bytes, at most, of a cache with `tokens` tokens beyond `sharedPages` pages that it shares. */
  bytes(tokens: number, sharedPages?: number): number;
  /** The most a cache takes on its way to `tokens` tokens: full pages wait as exact tokens, which take more, until they are older than the tail. */
  peakBytes(tokens: number, sharedPages?: number): number;
  /** What fp16 takes for as many tokens. */
  fp16Bytes(tokens: number): number;
  /** True bits per value of a full page of the artifact, its scales and outlier slots included; undefined for fp16. */
  readonly bitsPerValue: { readonly key: number; readonly value: number; readonly mean: number } | undefined;
}

/** What is known of the caches. */
export interface CacheCostOptions {
  readonly shape: CacheShape;
  /** A page of each layer; undefined for fp16. */
  readonly probe: readonly ProbePage[] | undefined;
  readonly sinkTokens: number;
  readonly tailTokens: number;
}

/** Sizes from those of the probe pages. */
export function createCacheCost({ shape, probe, sinkTokens, tailTokens }: CacheCostOptions): CacheCost {
  const columns = shape.kvHeads * shape.headDim;
  const row = shape.layers * columns * 2;
  const compressed = probe !== undefined;
  const page = compressed ? measurePage(probe, columns) : undefined;
  const pageBytes = page?.bytes ?? 0;
  // Layers that will be encoded keep keys before RoPE too.
  const chunkBytes = PAGE_TOKENS * row * (compressed ? 3 : 2) + shape.layers * CHUNK_OVERHEAD;
  const closedPages = (tokens: number): number => (compressed && tokens > 0 ? visiblePages(tokens - 1, { closedPages: 0, openStart: sinkTokens, tailTokens }) : 0);
  const first = compressed ? sinkTokens : 0;
  return {
    closedPages,
    bytes(tokens, sharedPages = 0) {
      const closed = closedPages(tokens);
      const chunks = Math.ceil(Math.max(0, tokens - first - PAGE_TOKENS * closed) / PAGE_TOKENS);
      return 2 * row * first + chunks * chunkBytes + Math.max(0, closed - sharedPages) * pageBytes;
    },
    peakBytes(tokens, sharedPages = 0) {
      const most = compressed ? Math.ceil((tailTokens + PAGE_TOKENS - 1) / PAGE_TOKENS) : Infinity;
      const chunks = Math.min(most, Math.ceil(Math.max(0, tokens - first) / PAGE_TOKENS));
      return 2 * row * first + chunks * chunkBytes + Math.max(0, closedPages(tokens) - sharedPages) * pageBytes;
    },
    fp16Bytes: (tokens) => tokens * row * 2,
    bitsPerValue: page?.bits,
  };
}

function measurePage(probe: readonly ProbePage[], columns: number): { bytes: number; bits: { key: number; value: number; mean: number } } {
  const sum = (side: keyof ProbePage): number => probe.reduce((bytes, page) => bytes + page[side].bytes.length, 0);
  const bits = (bytes: number): number => (8 * bytes) / (probe.length * PAGE_TOKENS * columns);
  const key = bits(sum("key"));
  const value = bits(sum("value"));
  return { bytes: sum("key") + sum("value") + probe.length * PAGE_OVERHEAD, bits: { key, value, mean: (key + value) / 2 } };
}
