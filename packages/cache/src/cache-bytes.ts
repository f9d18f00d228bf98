/** Exact byte accounting of a cache. */

/**
 * Allocated bytes by part; capacity counts, not use. Blocks that a fork shares count in both caches.
 * Not counted, because they do not grow with the number of cached sequences: rotary tables and the staging buffers of `attend`.
 */
export interface CacheBytes {
  /** Encoded blocks of closed pages: codes, scales, outliers, per-token data, padding. */
  readonly pages: number;
  /** Start and token count of each page, 8 bytes a page and layer. */
  readonly pageHeaders: number;
  /** The first tokens, in fp16. */
  readonly sinks: number;
  /** Open page and tail, in fp16, allocated 64 tokens at a time; all tokens of an fp16 layer. */
  readonly exact: number;
  /** Static tables of the layer plans. */
  readonly tables: number;
  readonly total: number;
  /** `total` divided by the tokens held; 0 for an empty cache. */
  readonly perToken: number;
}

/** True bits per value of closed pages: everything in their blocks over the values that are still valid. */
export interface CacheBits {
  readonly key: number;
  readonly value: number;
  readonly mean: number;
}

/** Adds up layers; `tokens` is the length of the cache. */
export function sumBytes(layers: readonly Omit<CacheBytes, "total" | "perToken">[], tokens: number): CacheBytes {
  const sum = { pages: 0, pageHeaders: 0, sinks: 0, exact: 0, tables: 0 };
  for (const layer of layers) {
    sum.pages += layer.pages;
    sum.pageHeaders += layer.pageHeaders;
    sum.sinks += layer.sinks;
    sum.exact += layer.exact;
    sum.tables += layer.tables;
  }
  const total = sum.pages + sum.pageHeaders + sum.sinks + sum.exact + sum.tables;
  return { ...sum, total, perToken: tokens === 0 ? 0 : total / tokens };
}
