/** Bytes of a cache at lengths that were not run. */

import { visiblePages } from "@kvquant/cache";
import type { KvCache } from "@kvquant/cache";
import { PAGE_TOKENS, checkInteger } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";

/** The length and rule to account for. */
export interface CacheBytesOptions {
  readonly tokens: number;
  /** Newest tokens kept exact, as in generation. */
  readonly tailTokens: number;
  readonly sinkTokens: number;
}

/** What the bytes of a cache follow from. */
export interface CacheSizes {
  readonly shape: Pick<CacheShape, "kvHeads" | "headDim">;
  /** Bytes of a layer's closed page, keys and values, one entry a layer; undefined for a layer in fp16. */
  readonly pageBytes: readonly (number | undefined)[];
  /** Bytes of all tables. */
  readonly tableBytes: number;
}

/**
 * Allocated bytes that a cache like `measured` holds at another length, everything included: `cacheBytesOf` with the mean bytes of each
 * layer's full pages in `measured`, which differ only in their outliers. A layer without pages in `measured` counts as fp16.
 * @throws INVALID_ARGUMENT for counts that make no sense
 */
export function cacheBytesAt(measured: KvCache, options: CacheBytesOptions): number {
  const { shape } = measured;
  const pageBytes = Array.from({ length: shape.layers }, (_, layer) => meanPageBytes(measured, layer));
  return cacheBytesOf({ shape, pageBytes, tableBytes: measured.bytes().tables }, options);
}

/**
 * Allocated bytes of a cache by arithmetic: every part but the closed pages follows from positions (sinks, exact chunks of 64 tokens,
 * 8 bytes a page header, tables).
 * @throws INVALID_ARGUMENT for counts that make no sense
 */
export function cacheBytesOf({ shape, pageBytes, tableBytes }: CacheSizes, { tokens, tailTokens, sinkTokens }: CacheBytesOptions): number {
  checkInteger("tokens", tokens, { minimum: 0 });
  checkInteger("tailTokens", tailTokens, { minimum: 0 });
  checkInteger("sinkTokens", sinkTokens, { minimum: 0 });
  const tokenBytes = 2 * 2 * shape.kvHeads * shape.headDim; // Keys and values in fp16.
  const exactBytes = (count: number): number => Math.ceil(count / PAGE_TOKENS) * PAGE_TOKENS * tokenBytes;
  const closed = tokens === 0 ? 0 : visiblePages(tokens - 1, { closedPages: 0, openStart: sinkTokens, tailTokens });
  const sinkBytes = tokens === 0 ? 0 : sinkTokens * tokenBytes;
  let bytes = tableBytes;
  for (const page of pageBytes) {
    if (page === undefined) bytes += exactBytes(tokens);
    else bytes += sinkBytes + exactBytes(Math.max(0, tokens - sinkTokens - closed * PAGE_TOKENS)) + closed * (page + 8);
  }
  return Math.round(bytes);
}

function meanPageBytes(cache: KvCache, layer: number): number | undefined {
  let bytes = 0;
  let pages = 0;
  for (const page of cache.layer(layer).pages()) {
    if (page.key.tokens < PAGE_TOKENS) continue;
    bytes += page.key.bytes.length + page.value.bytes.length;
    pages++;
  }
  return pages === 0 ? undefined : bytes / pages;
}
