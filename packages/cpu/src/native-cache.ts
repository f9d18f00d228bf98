/** A KV cache whose pages, tail and attention are native. */

import { checkMatrix } from "@kvquant/cache";
import type { CacheBits, CacheBytes, CachePage, KvCache, LayerStore } from "@kvquant/cache";
import { ropeFrequencies } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import { KvquantError, PAGE_TOKENS, awaitNative, callNative, check, checkCacheShape, checkFinite, checkInteger, checkLength } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonCache, AddonPage, KernelPath } from "./addon.js";
import { chooseIsa, isaNumber } from "./isa.js";
import type { Isa } from "./isa.js";
import { encodeExactState, importExactState } from "./exact-state.js";
import type { NativeCodec } from "./native-codec.js";
import type { NativeThreads } from "./native-threads.js";

/** How a layer is compressed. */
export interface NativeLayerPlan {
  readonly key: NativeCodec;
  readonly value: NativeCodec;
  /** Bytes of the fitted tables, counted in `CacheBytes.tables`. */
  readonly tableBytes?: number;
}

/** What a native cache is made of. */
export interface NativeCacheOptions {
  readonly shape: CacheShape;
  readonly rope: RopeConfig;
  /** One entry a layer, or `"fp16"` for the exact baseline. */
  readonly layers: readonly (NativeLayerPlan | "fp16")[] | "fp16";
  /** First tokens kept exact, 0 to 64. Default 1. */
  readonly sinkTokens?: number;
  /** Newest tokens a query sees exactly. Default 64. */
  readonly tailTokens?: number;
  readonly threads: NativeThreads;
  readonly isa?: Isa;
  /** `fast`: 16-bit keys and weights where the instruction set has them (logits within 2e-3); `exact`: fp32 (1e-4). Default `fast`. */
  readonly precision?: "fast" | "exact";
}

/** A native cache. */
export interface NativeKvCache extends KvCache {
  readonly handle: AddonCache;
  readonly isa: Isa;
  /** The code that each layer and side runs. */
  paths(): readonly KernelPath[];
  fork(): NativeKvCache;
  /** An empty cache with the same options that shares the tables of this one, even of a disposed one. */
  another(): NativeKvCache;
  /** Closed page `index` of every layer; undefined for a layer kept in fp16. @throws INVALID_ARGUMENT when a layer has no such page */
  exportPage(index: number): readonly (CachePage | undefined)[];
  /** Everything but the closed pages, bit for bit: sinks and newest tokens as they lie in memory (docs/format.md section 5). With the pages it makes a cache that goes on with the same bits. */
  exportExact(): Uint8Array;
  /** Gives an empty cache the sinks of an exported state; `addPage` and `importTail` follow. @throws CORRUPT_DATA for other or damaged bytes, INVALID_ARGUMENT for a cache with tokens */
  importSinks(bytes: Uint8Array): void;
  /** Adds the newest tokens of an exported state after its sinks and all its closed pages. @throws CORRUPT_DATA, also when other tokens are held than those before it */
  importTail(bytes: Uint8Array): void;
  /** Adds a page that was encoded elsewhere (see `decodePageAtRest`) right after the tokens held; its position is where it lands. @throws CORRUPT_DATA, INVALID_ARGUMENT */
  addPage(layer: number, page: Omit<CachePage, "start">): void;
  /**
   * Nanoseconds of `repeats` rounds; each answers one query `[queryHeads * headDim]` (before RoPE) at the newest position in every layer, into `out` `[layers, queryHeads * headDim]`.
   * With more data than the processor's caches hold, every layer is read from memory.
   */
  timeAttention(query: Float32Array, repeats: number, out: Float32Array): Promise<Float64Array>;
}

const caches = new WeakSet<object>();

/** Whether a cache is one that native steps can use. */
export function isNativeCache(cache: KvCache): cache is NativeKvCache {
  return caches.has(cache);
}

/**
 * Makes an empty cache. It keeps what `createKvCache` keeps, by the same position rule; pages have the same bytes.
 * @throws UNSUPPORTED for rope scaling that depends on the length, NATIVE_UNAVAILABLE, INVALID_ARGUMENT
 */
export function createNativeCache(options: NativeCacheOptions): NativeKvCache {
  const { shape, rope, sinkTokens = 1, tailTokens = 64, threads, precision = "fast" } = options;
  checkCacheShape(shape);
  check(rope.headDim === shape.headDim, "rope.headDim", `the shape's head dim ${shape.headDim}`, rope.headDim);
  checkInteger("sinkTokens", sinkTokens, { minimum: 0 });
  if (sinkTokens > PAGE_TOKENS) throw new KvquantError("UNSUPPORTED", `sinkTokens: expected at most ${PAGE_TOKENS} in a native cache, got ${sinkTokens}; createKvCache has no limit`);
  checkInteger("tailTokens", tailTokens, { minimum: 0 });
  if (rope.scaling.type === "dynamic" || rope.scaling.type === "longrope") {
    throw new KvquantError("UNSUPPORTED", `rope: expected angles that do not depend on the length (none, linear, yarn, llama3, factors), got ${rope.scaling.type}; use the reference engine`);
  }
  const isa = chooseIsa(options.isa);
  const plans = options.layers === "fp16" ? new Array<"fp16">(shape.layers).fill("fp16") : options.layers;
  check(plans.length === shape.layers, "layers", `${shape.layers} plans, one a layer`, plans.length);
  const { inverseFrequencies, attentionFactor } = ropeFrequencies(rope);
  const handle = callNative(
    () =>
      new (loadAddon().Cache)({
        isa: isaNumber(isa),
        exact: precision === "exact",
        queryHeads: shape.queryHeads,
        kvHeads: shape.kvHeads,
        headDim: shape.headDim,
        rotaryDim: rope.rotaryDim,
        attentionFactor,
        frequencies: inverseFrequencies,
        layers: plans.map((plan) => (plan === "fp16" ? null : { key: plan.key.handle, value: plan.value.handle })),
        sinkTokens,
        tailTokens,
      }),
  );
  const tableBytes = plans.reduce((sum, plan) => sum + (plan === "fp16" ? 0 : (plan.tableBytes ?? 0)), 0);
  return wrap({ shape, isa, threads, tableBytes, tailTokens, compressed: plans.map((plan) => plan !== "fp16") }, handle, new Array<number>(shape.layers).fill(0));
}

interface Fixed {
  readonly shape: CacheShape;
  readonly isa: Isa;
  readonly threads: NativeThreads;
  readonly tableBytes: number;
  readonly tailTokens: number;
  readonly compressed: readonly boolean[];
}

/** `queryable`: of each layer, how many of the newest tokens can be queried. */
function wrap(fixed: Fixed, handle: AddonCache, queryable: number[]): NativeKvCache {
  const { shape, isa, threads, tableBytes } = fixed;
  const layers = Array.from({ length: shape.layers }, (_, index) => layerStore(fixed, handle, index, queryable));
  const pageTotals = (): ReturnType<AddonCache["pageTotals"]> => callNative(() => handle.pageTotals());
  const dispose = (): void => callNative(() => handle.dispose());
  const cache: NativeKvCache = {
    handle,
    isa,
    shape,
    quantizeOpenPage: false,
    get length() {
      return callNative(() => handle.length());
    },
    get saturated() {
      return pageTotals().saturated;
    },
    get clamped() {
      return pageTotals().clamped;
    },
    layer(index) {
      callNative(() => handle.length());
      checkInteger("layer", index, { minimum: 0, maximum: layers.length - 1 });
      return layers[index]!;
    },
    truncate(tokens) {
      checkInteger("truncate tokens", tokens, { minimum: 0, maximum: callNative(() => handle.length()) });
      const before = layers.map((layer) => layer.length);
      callNative(() => handle.truncate(tokens));
      before.forEach((length, index) => {
        if (length !== tokens) queryable[index] = 0;
      });
    },
    fork: () => wrap(fixed, callNative(() => new (loadAddon().Cache)({ forkOf: handle })), [...queryable]),
    another: () => wrap(fixed, callNative(() => new (loadAddon().Cache)({ likeOf: handle })), queryable.map(() => 0)),
    checkpoint() {
      const saved = callNative(() => new (loadAddon().Cache)({ forkOf: handle }));
      return () => {
        callNative(() => handle.restore(saved));
        queryable.fill(0);
      };
    },
    bytes(beyond): CacheBytes {
      check(beyond === undefined || isNativeCache(beyond), "bytes: beyond", "a native cache", beyond);
      const bytes = callNative(() => handle.bytes(beyond?.handle));
      const tables = beyond === undefined ? bytes.tables + tableBytes : 0;
      const total = bytes.pages + bytes.pageHeaders + bytes.sinks + bytes.exact + tables;
      const length = handle.length();
      return { ...bytes, tables, total, perToken: length === 0 ? 0 : total / length };
    },
    bitsPerValue(): CacheBits | undefined {
      const { keyBytes, valueBytes, tokens } = pageTotals();
      if (tokens === 0) return undefined;
      const values = tokens * shape.kvHeads * shape.headDim;
      const key = (keyBytes * 8) / values;
      const value = (valueBytes * 8) / values;
      return { key, value, mean: (key + value) / 2 };
    },
    backends: () => [`native-${isa}`],
    paths: () => callNative(() => handle.paths()),
    addPage(layer, page) {
      checkInteger("layer", layer, { minimum: 0, maximum: shape.layers - 1 });
      callNative(
        () =>
          handle.addPage(layer, {
            tokens: page.tokens,
            encodedTokens: page.key.tokens,
            key: page.key.bytes,
            value: page.value.bytes,
            keySaturated: page.key.saturated,
            valueSaturated: page.value.saturated,
            keyClamped: page.key.clamped,
            valueClamped: page.value.clamped,
          }),
        `layer ${layer}`,
      );
      queryable[layer] = 0;
    },
    exportPage(index) {
      return layers.map((_, layer) => {
        if (!fixed.compressed[layer]!) return undefined;
        const [page] = callNative(() => handle.pages(layer, true, index, 1), `layer ${layer}`);
        return toCachePage(page!);
      });
    },
    exportExact: () => encodeExactState(handle, shape),
    importSinks(bytes) {
      importPart(bytes, "sinks");
    },
    importTail(bytes) {
      importPart(bytes, "tail");
    },
    async timeAttention(query, repeats, out) {
      checkLength("timeAttention: query", query, shape.queryHeads * shape.headDim);
      checkInteger("timeAttention: repeats", repeats, { minimum: 1, maximum: 1 << 20 });
      checkLength("timeAttention: out", out, shape.layers * shape.queryHeads * shape.headDim);
      const nanoseconds = new Float64Array(repeats);
      await awaitNative(() => handle.timeAttention(threads.handle, query, repeats, nanoseconds, out));
      return nanoseconds;
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
  function importPart(bytes: Uint8Array, part: "sinks" | "tail"): void {
    const before = layers.map((layer) => layer.length);
    try {
      importExactState(handle, shape, { bytes, part });
    } catch (error) {
      before.forEach((length, index) => handle.truncateLayer(index, length));
      throw error;
    }
    queryable.fill(0);
  }
  caches.add(cache);
  return cache;
}

function layerStore(fixed: Fixed, handle: AddonCache, index: number, queryable: number[]): LayerStore {
  const { shape, threads } = fixed;
  const keyColumns = shape.kvHeads * shape.headDim;
  const queryColumns = shape.queryHeads * shape.headDim;
  const name = (what: string): string => `layer ${index} ${what}`;
  const length = (): number => callNative(() => handle.layerLength(index), name("length"));
  return {
    get length() {
      return length();
    },
    append(k, v) {
      checkMatrix(name("append k"), k, k.rows, keyColumns);
      checkMatrix(name("append v"), v, k.rows, keyColumns);
      callNative(() => handle.append(index, k.data, v.data, k.rows), name("append"));
      queryable[index] = k.rows;
    },
    async attend(q, out) {
      const held = length();
      check(queryable[index]! > 0, name("attend"), "an append before", held === 0 ? "an empty layer" : "none since the truncation");
      checkMatrix(name("attend q"), q, q.rows, queryColumns);
      check(q.rows <= queryable[index]!, name("attend q"), `at most ${queryable[index]} rows, the newest tokens that can still be queried`, q.rows);
      checkMatrix(name("attend out"), out, q.rows, queryColumns);
      checkFinite(name("attend q"), q.data);
      const endBefore = callNative(() => handle.pagesEnd(index));
      await awaitNative(() => handle.attend(threads.handle, index, q.data, q.rows, out.data), name("attend"));
      const end = callNative(() => handle.pagesEnd(index));
      // Older queries saw as exact what has just been compressed.
      if (end > endBefore) queryable[index] = Math.min(queryable[index]!, held - (end + fixed.tailTokens - 1));
    },
    truncate(tokens) {
      const held = length();
      checkInteger(name("truncate tokens"), tokens, { minimum: 0, maximum: held });
      if (tokens === held) return;
      callNative(() => handle.truncateLayer(index, tokens), name("truncate"));
      queryable[index] = 0;
    },
    pages: () => callNative(() => handle.pages(index, true)).map(toCachePage),
  };
}

function toCachePage(page: AddonPage): CachePage {
  const { start, tokens, encodedTokens } = page;
  return {
    start,
    tokens,
    key: { tokens: encodedTokens, bytes: page.key!, saturated: page.keySaturated, clamped: page.keyClamped },
    value: { tokens: encodedTokens, bytes: page.value!, saturated: page.valueSaturated, clamped: page.valueClamped },
  };
}
