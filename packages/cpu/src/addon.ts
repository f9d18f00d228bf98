/** The addon as TypeScript sees it, and its loading. Numbers and layouts are checked by the callers; the addon checks lengths again for memory safety. */

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { KvquantError } from "@kvquant/spec";
import nodeGypBuild from "node-gyp-build";

/** Arrays of a key codec; see `kvq_key_plan` in `native/include/kvquant/page.h`. */
export interface KeyCodecOptions {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rotaryDim: number;
  readonly bits: number;
  readonly pageScales: boolean;
  readonly outliers: boolean;
  readonly scale: Float32Array;
  readonly zero: Float32Array;
  readonly low: Float32Array | undefined;
  readonly high: Float32Array | undefined;
  readonly levels: Float32Array;
  readonly midpoints: Float32Array;
  readonly feedbackOrder: Float32Array | undefined;
  readonly feedbackWeights: Float32Array | undefined;
}

/** Arrays of a value codec; see `kvq_value_plan`. */
export interface ValueCodecOptions {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rotaryDim: number;
  readonly bits: number;
  readonly rotated: boolean;
  readonly outlierCount: number;
  readonly levels: Float32Array;
  readonly midpoints: Float32Array;
  readonly mean: Float32Array | undefined;
  readonly deviation: Float32Array | undefined;
}

/** A codec of one side. */
export interface AddonCodec {
  encode(x: Float32Array, tokens: number): { readonly bytes: Uint8Array; readonly saturated: number; readonly clamped: number };
  decode(bytes: Uint8Array, tokens: number, out: Float32Array): void;
}

/** A thread pool with the working memory of attention. */
export interface AddonThreads {
  attendTile(block: { readonly isa: number; readonly q: Float32Array; readonly k: Float32Array; readonly v: Float32Array; readonly group: number; readonly queries: number; readonly keys: number; readonly headDim: number; readonly scale: number; readonly out: Float32Array }): Promise<void>;
  readBandwidth(bytes: number, out: Float64Array): Promise<void>;
}

/** Rotary angles of a cache or model. */
export interface AddonRope {
  readonly rotaryDim: number;
  readonly attentionFactor: number;
  readonly frequencies: Float64Array;
}

/** What a cache is made of. */
export interface AddonCacheOptions extends AddonRope {
  readonly isa: number;
  readonly exact: boolean;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly layers: readonly ({ readonly key: AddonCodec; readonly value: AddonCodec } | null)[];
  readonly sinkTokens: number;
  readonly tailTokens: number;
}

/** A page as the addon reports it; blocks only when asked for. */
export interface AddonPage {
  readonly start: number;
  readonly tokens: number;
  readonly encodedTokens: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly keySaturated: number;
  readonly valueSaturated: number;
  readonly keyClamped: number;
  readonly valueClamped: number;
  readonly key?: Uint8Array;
  readonly value?: Uint8Array;
}

/** Which code a layer's side runs. */
export interface KernelPath {
  readonly layer: number;
  readonly side: "key" | "value";
  /** 16 for an fp16 layer. */
  readonly bits: number;
  readonly path: string;
}

/** The cache of one sequence. */
export interface AddonCache {
  length(): number;
  busy(): boolean;
  layerLength(layer: number): number;
  /** Position after the closed pages. */
  pagesEnd(layer: number): number;
  append(layer: number, keys: Float32Array, values: Float32Array, rows: number): void;
  attend(threads: AddonThreads, layer: number, queries: Float32Array, rows: number, out: Float32Array): Promise<void>;
  timeAttention(threads: AddonThreads, queries: Float32Array, repeats: number, nanoseconds: Float64Array, out: Float32Array): Promise<void>;
  truncate(tokens: number): void;
  truncateLayer(layer: number, tokens: number): void;
  restore(saved: AddonCache): void;
  dispose(): void;
  /** With `beyond`, of the blocks which that cache does not share. */
  bytes(beyond?: AddonCache): { readonly pages: number; readonly pageHeaders: number; readonly sinks: number; readonly exact: number; readonly tables: number };
  /** Sums over the closed pages of all layers. */
  pageTotals(): { readonly keyBytes: number; readonly valueBytes: number; readonly tokens: number; readonly saturated: number; readonly clamped: number };
  pages(layer: number, withBytes: boolean, first?: number, count?: number): AddonPage[];
  /** Sinks and the tokens after the closed pages, raw fp16. */
  exportExact(layer: number): { readonly sinks: number; readonly tokens: number; readonly values: Uint16Array };
  importExact(layer: number, part: "sinks" | "tail", tokens: number, values: Uint16Array): void;
  addPage(layer: number, page: Omit<AddonPage, "start" | "keyBytes" | "valueBytes">): void;
  paths(): KernelPath[];
}

/** Sizes and switches of a decoder-only transformer with RMS norms, grouped-query attention and a SiLU-gated feed-forward. */
export interface ModelSizes {
  readonly layers: number;
  readonly width: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly feedForward: number;
  readonly vocabulary: number;
  readonly normEpsilon: number;
  readonly attentionBias: boolean;
  readonly queryKeyNorm: boolean;
}

/** What a model is made of, before its weights. */
export interface AddonModelOptions extends AddonRope, ModelSizes {
  readonly isa: number;
}

/** A step over a mixed batch. */
export interface AddonStep {
  /** `[rows, width]` embeddings of all rows. */
  readonly x: Float32Array;
  readonly caches: readonly AddonCache[];
  /** Rows of each cache. */
  readonly rows: Uint32Array;
  /** `[rows, width]`, or undefined when nobody asks. */
  readonly hidden?: Float32Array | undefined;
  readonly logitRows?: Uint32Array | undefined;
  /** `[logitRows, vocabulary]` */
  readonly logits?: Float32Array | undefined;
}

/** Packed weights and the steps over them; a layer of undefined means the head or the output norm. */
export interface AddonModel {
  createMatrix(layer: number | undefined, part: string, type: number, rows: number, cols: number, exact: boolean): void;
  fillMatrix(layer: number | undefined, part: string, bytes: Uint8Array, count: number, first: number, target: Uint32Array | undefined): void;
  setVector(layer: number | undefined, part: string, values: Float32Array): void;
  ready(threads: AddonThreads): void;
  step(step: AddonStep): Promise<void>;
  begin(x: Float32Array, rows: number): Promise<void>;
  project(layer: number, query: Float32Array, key: Float32Array, value: Float32Array): Promise<void>;
  finishLayer(layer: number, attention: Float32Array): Promise<void>;
  hidden(out: Float32Array): Promise<void>;
  logits(hidden: Float32Array, rows: number, logSoftmax: boolean, out: Float32Array): Promise<void>;
  cancel(): void;
  dispose(): void;
  info(): { readonly weightBytes: number; readonly workingBytes: number; readonly paths: Readonly<Record<string, number>> };
}

/** What the addon exports. */
export interface Addon {
  isas(): (string | null)[];
  readonly KeyCodec: new (options: KeyCodecOptions & { readonly isa: number }) => AddonCodec;
  readonly ValueCodec: new (options: ValueCodecOptions & { readonly isa: number }) => AddonCodec;
  readonly Threads: new (threads: number) => AddonThreads;
  readonly Cache: new (options: AddonCacheOptions | { readonly forkOf: AddonCache } | { readonly likeOf: AddonCache }) => AddonCache;
  readonly Model: new (options: AddonModelOptions) => AddonModel;
}

const packageFolder = join(dirname(fileURLToPath(import.meta.url)), "..");

let loaded: Addon | undefined;
let failure: Error | undefined;

/**
 * Loads the addon once: the file `KVQUANT_ADDON` names (builds with sanitizers), `build/Release` of a source build, else a prebuilt binary of this platform.
 * @throws NATIVE_UNAVAILABLE with the reason
 */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  try {
    if (failure !== undefined) throw failure;
    const named = process.env.KVQUANT_ADDON;
    loaded = (named === undefined || named === "" ? nodeGypBuild(packageFolder) : createRequire(import.meta.url)(named)) as Addon;
    return loaded;
  } catch (error) {
    failure = error as Error;
    throw new KvquantError("NATIVE_UNAVAILABLE", `@kvquant/cpu: expected a native addon for ${process.platform}-${process.arch}, got none (${failure.message.split("\n")[0]}); build it with "npm --prefix packages/cpu run build:addon" in a checkout, or "npm rebuild @kvquant/cpu" where it is installed (C++20 compiler, make, Python 3), or use the reference engine`, { cause: failure });
  }
}
