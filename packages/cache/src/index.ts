/** Compressed KV cache: sinks and tail in fp16, closed pages of 64 tokens through codecs, attention over both, exact byte accounting. */

export type { CacheBits, CacheBytes } from "./cache-bytes.js";
export type { CachePage } from "./cache-page.js";
export { checkMatrix } from "./check-tokens.js";
export { createKvCache } from "./kv-cache.js";
export type { KvCache, KvCacheOptions } from "./kv-cache.js";
export type { LayerPlan } from "./layer-plan.js";
export type { LayerStore } from "./layer-store.js";
export type { LayerAttention, PageAttention, PageAttentionCall } from "./page-attention.js";
export { decodePageAtRest, encodePageAtRest } from "./page-at-rest.js";
export type { PageAtRest } from "./page-at-rest.js";
export { typescriptKernel } from "./typescript-kernel.js";
export { lastPositionSeeing, visiblePages } from "./visible-pages.js";
export type { PageRule } from "./visible-pages.js";
