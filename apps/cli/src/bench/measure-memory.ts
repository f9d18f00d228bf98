/** How much a long cache takes: measured, and by the format's own count. */

import { createThreads } from "@kvquant/cpu";
import { visiblePages } from "@kvquant/cache";
import { makePage } from "@kvquant/quant/testing";
import { PAGE_TOKENS } from "@kvquant/spec";
import { checkMemory } from "./check-memory.js";
import { median } from "./median.js";
import { findShape } from "./model-shapes.js";
import type { ShapeName } from "./model-shapes.js";
import { createFillBuffers, createSyntheticCache, fillCache, sinkTokens, tailTokens } from "./synthetic-cache.js";
import { fitSyntheticLayer, makeSyntheticStatistics } from "./synthetic-layer.js";
import type { SyntheticLayer } from "./synthetic-layer.js";
import { makeSyntheticTokens } from "./synthetic-tokens.js";

/** One long cache. */
export interface MemoryReport {
  readonly shape: ShapeName;
  readonly layers: number;
  readonly cache: string;
  readonly tokens: number;
  readonly threads: number;
  /** Closed pages times the bytes of a page as the TypeScript encoders write it. */
  readonly formulaBytes: number;
  /** Everything the cache has allocated: `cache.bytes().total`. */
  readonly allocatedBytes: number;
  /** What the process grew by. */
  readonly residentBytes: number;
  /** Bytes of closed pages over the values in them; undefined for fp16. */
  readonly bitsPerValue: number | undefined;
  readonly fillSeconds: number;
  /** Attention of one more token in every layer: median of three. */
  readonly decodeMilliseconds: number;
  /** For one layer of a model: allocated bytes times the model's layers, and its fp16 weights. */
  readonly projectedModelBytes: number | undefined;
}

/** What is filled. */
export interface MemoryMeasurement {
  readonly shape: ShapeName;
  readonly cache: string;
  readonly tokens: number;
  readonly threads: number;
  readonly signal: AbortSignal;
  readonly onShare: (share: number) => void;
}

/** Memory beside closed pages, as a share of them and for chunks on their way in. */
const overheadShare = 0.1;
const fillBytes = 512 << 20;
const decodeRepeats = 3;
const samplePages = 4;

/** @throws OUT_OF_CAPACITY when the machine has too little memory */
export async function measureMemory({ shape: shapeName, cache: preset, tokens: length, threads: threadCount, signal, onShare }: MemoryMeasurement): Promise<MemoryReport> {
  const { layers, queryHeads, kvHeads, headDim, modelLayers, modelWeightBytes } = findShape(shapeName);
  const shape = { layers, queryHeads, kvHeads, headDim };
  const layer = preset === "fp16" ? preset : fitSyntheticLayer(preset, makeSyntheticStatistics(shape));
  const closedPages = layer === "fp16" ? 0 : visiblePages(length - 1, { closedPages: 0, openStart: sinkTokens, tailTokens });
  const exactTokens = length - closedPages * PAGE_TOKENS;
  const formulaBytes = layer === "fp16" ? layers * length * 4 * kvHeads * headDim : Math.round(layers * closedPages * meanPageBytes(layer, { kvHeads, headDim }));
  checkMemory(`${length} tokens of ${shapeName} in ${preset}`, formulaBytes * (1 + overheadShare) + layers * exactTokens * 6 * kvHeads * headDim * Number(layer !== "fp16") + fillBytes, "ask for fewer --tokens or a smaller --cache");

  const tokens = makeSyntheticTokens(shape);
  const query = tokens.query(queryHeads);
  const buffers = createFillBuffers(tokens.columns);
  const before = process.memoryUsage().rss;
  using cache = createSyntheticCache(shape, layer, createThreads(threadCount));
  const started = performance.now();
  await fillCache(cache, { tokens, length, signal, onShare, buffers });
  const fillSeconds = (performance.now() - started) / 1000;
  const out = new Float32Array(layers * query.length);
  const decodeMilliseconds = median(await cache.timeAttention(query, decodeRepeats, out)) / 1e6;
  const allocatedBytes = cache.bytes().total;
  return {
    shape: shapeName,
    layers,
    cache: preset,
    tokens: length,
    threads: threadCount,
    formulaBytes,
    allocatedBytes,
    residentBytes: process.memoryUsage().rss - before,
    bitsPerValue: cache.bitsPerValue()?.mean,
    fillSeconds,
    decodeMilliseconds,
    projectedModelBytes: modelLayers === undefined || modelWeightBytes === undefined ? undefined : (allocatedBytes / layers) * modelLayers + modelWeightBytes,
  };
}

/** Bytes of a layer's keys and values of one page; pages differ only in their outliers. */
function meanPageBytes({ reference }: SyntheticLayer, size: { readonly kvHeads: number; readonly headDim: number }): number {
  const shape = { layers: 1, queryHeads: size.kvHeads, ...size };
  let bytes = 0;
  for (let page = 0; page < samplePages; page++) {
    const { k, v } = makePage(shape, PAGE_TOKENS, 700 + page);
    bytes += reference.key.encode(k).bytes.length + reference.value.encode(v).bytes.length;
  }
  return bytes / samplePages;
}
