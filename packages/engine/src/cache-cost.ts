/** What caches will take, before they are filled. */

import { visiblePages } from "@kvquant/cache";
import type { CacheBits, KvCache } from "@kvquant/cache";
import type { LayerArtifact } from "@kvquant/quant";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";

import type { ProbePage } from "./probe-pages.js";

/** Beside the blocks of a page, at most: header, list entry, and what aligns both blocks to 64 bytes. */
const PAGE_OVERHEAD = 64 + 24 + 2 * 63;
/** Offsets of the outliers of a KV head, keys and values. */
const HEAD_OVERHEAD = 8;
/** Header of a block of exact tokens. */
const CHUNK_OVERHEAD = 64;

/** Sizes of one kind of cache. Pages with outliers differ in size: those that were seen say what the next will take. */
export interface CacheCost {
  /** Closed pages of a cache with `tokens` tokens that was filled in order. */
  closedPages(tokens: number): number;
  /** Bytes of a cache with `tokens` tokens beyond `sharedPages` pages that it shares. */
  bytes(tokens: number, sharedPages?: number): number;
  /** The most a cache takes on its way to `tokens` tokens: full pages wait as exact tokens, which take more, until they are older than the tail. */
  peakBytes(tokens: number, sharedPages?: number): number;
  /** The same with the least that pages can take: as those that were seen or, before, their codes alone. */
  leastPeakBytes(tokens: number): number;
  /** What fp16 takes for as many tokens. */
  fp16Bytes(tokens: number): number;
  /** Learns from the closed pages of a cache. */
  observe(cache: Pick<KvCache, "length" | "bitsPerValue">): void;
  /** True bits per value of the pages that were seen, scales and outlier slots included; undefined before, and for fp16. */
  readonly bitsPerValue: CacheBits | undefined;
}

/** What is known of the caches. */
export interface CacheCostOptions {
  readonly shape: CacheShape;
  /** How each layer is compressed; undefined for fp16. */
  readonly layers: readonly LayerArtifact[] | undefined;
  /** A page of each layer, from which sizes are taken until real ones were seen; undefined for fp16. */
  readonly probe: readonly ProbePage[] | undefined;
  readonly sinkTokens: number;
  readonly tailTokens: number;
}

/** Sizes before any page was seen. */
export function createCacheCost({ shape, layers, probe, sinkTokens, tailTokens }: CacheCostOptions): CacheCost {
  const columns = shape.kvHeads * shape.headDim;
  const row = shape.layers * columns * 2;
  const compressed = probe !== undefined;
  // Layers that will be encoded keep keys before RoPE too.
  const chunkBytes = PAGE_TOKENS * row * (compressed ? 3 : 2) + shape.layers * CHUNK_OVERHEAD;
  const closedPages = (tokens: number): number => (compressed && tokens > 0 ? visiblePages(tokens - 1, { closedPages: 0, openStart: sinkTokens, tailTokens }) : 0);
  const first = compressed ? sinkTokens : 0;
  /** Bytes of a page of all layers at so many bits a value. */
  const pageBytes = (bits: number): number => Math.ceil((2 * shape.layers * PAGE_TOKENS * columns * bits) / 8) + shape.layers * (PAGE_OVERHEAD + shape.kvHeads * HEAD_OVERHEAD);
  const seen = { pages: 0, key: 0, value: 0 };
  const seenBits = (): CacheBits => ({ key: seen.key / seen.pages, value: seen.value / seen.pages, mean: (seen.key + seen.value) / (2 * seen.pages) });
  let page = pageBytes(probe === undefined ? 0 : meanProbeBits(probe, columns));
  let leastPage = pageBytes(layers === undefined ? 0 : meanCodeBits(layers));
  const peakBytes = (tokens: number, { page, sharedPages }: { page: number; sharedPages: number }): number => {
    const most = compressed ? Math.ceil((tailTokens + PAGE_TOKENS - 1) / PAGE_TOKENS) : Infinity;
    const chunks = Math.min(most, Math.ceil(Math.max(0, tokens - first) / PAGE_TOKENS));
    return 2 * row * first + chunks * chunkBytes + Math.max(0, closedPages(tokens) - sharedPages) * page;
  };
  return {
    closedPages,
    bytes(tokens, sharedPages = 0) {
      const closed = closedPages(tokens);
      const chunks = Math.ceil(Math.max(0, tokens - first - PAGE_TOKENS * closed) / PAGE_TOKENS);
      return 2 * row * first + chunks * chunkBytes + Math.max(0, closed - sharedPages) * page;
    },
    peakBytes: (tokens, sharedPages = 0) => peakBytes(tokens, { page, sharedPages }),
    leastPeakBytes: (tokens) => peakBytes(tokens, { page: leastPage, sharedPages: 0 }),
    fp16Bytes: (tokens) => tokens * row * 2,
    observe(cache) {
      const pages = closedPages(cache.length);
      const bits = pages === 0 ? undefined : cache.bitsPerValue();
      if (bits === undefined) return;
      seen.pages += pages;
      seen.key += pages * bits.key;
      seen.value += pages * bits.value;
      page = leastPage = pageBytes(seenBits().mean);
    },
    get bitsPerValue() {
      return seen.pages === 0 ? undefined : seenBits();
    },
  };
}

function meanProbeBits(probe: readonly ProbePage[], columns: number): number {
  const bytes = probe.reduce((sum, { key, value }) => sum + key.bytes.length + value.bytes.length, 0);
  return (8 * bytes) / (2 * probe.length * PAGE_TOKENS * columns);
}

function meanCodeBits(layers: readonly LayerArtifact[]): number {
  return layers.reduce((sum, { key, value }) => sum + key.bits + value.bits, 0) / (2 * layers.length);
}
