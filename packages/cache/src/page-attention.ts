/** Plug-in: attention that reads compressed pages where they are, in place of decoding them for an attention kernel. */

import type { Matrix } from "@kvquant/spec";

import type { CachePage } from "./cache-page.js";

/** What one attention of a layer is over. Everything is borrowed for the call. */
export interface PageAttentionCall {
  /** Queries of the newest tokens `[m, queryHeads * headDim]`, before RoPE, finite; the last is at position `length - 1`. */
  readonly q: Matrix;
  /** `[m, queryHeads * headDim]` */
  readonly out: Matrix;
  /** Tokens of the layer. */
  readonly length: number;
  /** Closed pages, then those that close with the newest query, in position order. A page with the same `key` and `value` objects has the same bytes. */
  readonly pages: readonly CachePage[];
  /** `[m]` how many of the pages each query sees compressed; what follows them it sees exactly, and the sinks too. */
  readonly visible: Uint32Array;
  /** Sink tokens held. */
  readonly sinks: number;
  /** First position after the sinks that some query sees exactly; the start of a page. */
  readonly exactFrom: number;
  /** Reads exact tokens from position `first` on, sinks or others but not both: keys before RoPE and values, rounded to fp16, `[count, kvHeads * headDim]` each. */
  readExact(range: { readonly first: number; readonly count: number }, keys: Float32Array, values: Float32Array): void;
}

/** Attention of one layer of one sequence. What it keeps is a copy: the cache holds every token and page. */
export interface LayerAttention {
  /** Writes `out`. On error the cache is as it was, and the call may be repeated. */
  attend(call: PageAttentionCall): Promise<void>;
  /** Tokens from `position` on may be others from now on. */
  forget(position: number): void;
  /** For a copy of the layer. */
  fork(): LayerAttention;
  /** Releases what it keeps. Nothing follows. */
  release(): void;
}

/** Opens layers, for `KvCacheOptions.attention`. */
export interface PageAttention {
  readonly specVersion: 1;
  /** What `backends()` says. */
  readonly id: string;
  /** Attention of an empty layer. */
  openLayer(layer: number): LayerAttention;
}
