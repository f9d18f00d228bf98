/** Bytes of a cache at lengths that were not run. */

import { visiblePages } from "@kvquant/cache";
import type { KvCache } from "@kvquant/cache";
import { PAGE_TOKENS, checkInteger } from "@kvquant/spec";

/** The length and rule to account for. */
export interface CacheBytesOptions {
  readonly tokens: number;
  /** Newest tokens kept exact, as in generation. */
  readonly tailTokens: number;
  readonly sinkTokens: number;
}

/**
 * Allocated bytes that a cache like `measured` holds at another length, everything included, by arithmetic: every part but the closed
 * pages follows from positions (sinks, exact chunks of 64 tokens, 8 bytes a page header, tables); a closed page takes the mean bytes
 * of its layer's full pages in `measured`, which differ only in their outliers. A layer without pages in `measured` counts as fp16.
 * @throws INVALID_ARGUMENT for counts that make no sense
 */
export function cacheBytesAt(measured: KvCache, { tokens, tailTokens, sinkTokens }: CacheBytesOptions): number {
  checkInteger("tokens", tokens, { minimum: 0 });
  checkInteger("tailTokens", tailTokens, { minimum: 0 });
  checkInteger("sinkTokens", sinkTokens, { minimum: 0 });
  const { layers, kvHeads, headDim } = measured.shape;
  const tokenBytes = 2 * 2 * kvHeads * headDim; // Keys and values in fp16.
  const exactBytes = (count: number): number => Math.ceil(count / PAGE_TOKENS) * PAGE_TOKENS * tokenBytes;
  const closed = tokens === 0 ? 0 : visiblePages(tokens - 1, { closedPages: 0, openStart: sinkTokens, tailTokens });
  const sinkBytes = tokens === 0 ? 0 : sinkTokens * tokenBytes;
  let bytes = measured.bytes().tables;
  for (let layer = 0; layer < layers; layer++) {
    const pageBytes = meanPageBytes(measured, layer);
    if (pageBytes === undefined) bytes += exactBytes(tokens);
    else bytes += sinkBytes + exactBytes(Math.max(0, tokens - sinkTokens - closed * PAGE_TOKENS)) + closed * (pageBytes + 8);
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
