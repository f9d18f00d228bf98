/** A compressed KV cache of one sequence: a store for each layer, kept in step. */

import { KvquantError, check, checkCacheShape, checkInteger } from "@kvquant/spec";
import type { AttentionKernel, CacheShape } from "@kvquant/spec";
import type { Rope } from "@kvquant/rope";

import { sumBytes } from "./cache-bytes.js";
import type { CacheBits, CacheBytes } from "./cache-bytes.js";
import { checkLayerPlan } from "./layer-plan.js";
import type { LayerPlan } from "./layer-plan.js";
import { createLayerStore } from "./layer-store.js";
import type { LayerStore, ManagedLayer } from "./layer-store.js";
import type { PageAttention } from "./page-attention.js";
import { typescriptKernel } from "./typescript-kernel.js";
import { createWorkspacePool } from "./workspace.js";

/** More than any model gathers attention in; each takes room in every layer from the first token on. */
const MAXIMUM_SINKS = 65_536;

/** What a cache is made of. */
export interface KvCacheOptions {
  readonly shape: CacheShape;
  /** Rotates queries and keys; its head dim is the shape's. */
  readonly rope: Rope;
  /** One entry a layer, or `"fp16"` for a cache without compression. */
  readonly layers: readonly (LayerPlan | "fp16")[] | "fp16";
  /** First tokens kept in fp16 and left out of pages. Default 1. */
  readonly sinkTokens?: number;
  /** Newest tokens a query sees exactly, its own included. Default 64; 0 closes a page as soon as it is full. */
  readonly tailTokens?: number;
  /**
   * Evaluation protocol "no tail": every query sees every token after the sinks compressed, the open page and its own token too.
   * The cache must be filled by one `append` and read by `attend` over all its queries. Default false.
   */
  readonly quantizeOpenPage?: boolean;
  /** Does the products of exact attention. Default: the TypeScript one. */
  readonly kernel?: AttentionKernel;
  /** Attends to pages as they are, in place of a kernel that sees them decoded. Default: none. */
  readonly attention?: PageAttention;
}

/** The cache of one sequence. */
export interface KvCache extends Disposable {
  readonly shape: CacheShape;
  /** The evaluation protocol "no tail": the whole sequence must be appended and read in one go. */
  readonly quantizeOpenPage: boolean;
  /** Tokens that every layer holds; layers differ only while a forward pass is under way, or after one failed. */
  readonly length: number;
  /** Values of closed pages that took the end level because no outlier slot was left. */
  readonly saturated: number;
  /** Page-local scales and zero points that were clamped. */
  readonly clamped: number;
  /** The store of layer `index`, 0-based. @throws INVALID_ARGUMENT, DISPOSED */
  layer(index: number): LayerStore;
  /** Forgets all tokens from `tokens` on. @throws INVALID_ARGUMENT, DISPOSED */
  truncate(tokens: number): void;
  /** An independent cache with the same contents that shares the immutable blocks. @throws INVALID_ARGUMENT while an attend is running, DISPOSED */
  fork(): KvCache;
  /**
   * Returns a function that brings the cache back to what it holds now, whatever was appended, closed or truncated since: around a forward pass it
   * makes the pass all or nothing. Costs a copy of the last, partly filled chunk of exact tokens of each layer. @throws INVALID_ARGUMENT while an attend is running, DISPOSED
   */
  checkpoint(): () => void;
  /**
   * Bytes of all blocks or, with `beyond` (a cache that this one was forked from, or a fork of the same), of the blocks which that cache does not share:
   * what a fork costs beside it. Tables are shared, so they are left out then. @throws INVALID_ARGUMENT for a cache of another kind, DISPOSED
   */
  bytes(beyond?: KvCache): CacheBytes;
  /** True bits per value of the closed pages; undefined when there are none. */
  bitsPerValue(): CacheBits | undefined;
  /** Ids of the backends in use. */
  backends(): readonly string[];
  /** Releases all storage; every later call but `dispose` throws DISPOSED. */
  dispose(): void;
}

/**
 * Makes an empty cache.
 * @throws INVALID_ARGUMENT for a shape, plan or count that makes no sense
 * @throws UNSUPPORTED for `post-rope` keys with a rope whose frequencies depend on the sequence length, or `quantizeOpenPage` with a plug-in that reads pages
 */
export function createKvCache(options: KvCacheOptions): KvCache {
  const { shape, rope, sinkTokens = 1, tailTokens = 64, quantizeOpenPage = false, kernel = typescriptKernel, attention } = options;
  checkCacheShape(shape);
  check(rope.config.headDim === shape.headDim, "rope.config.headDim", `the shape's head dim ${shape.headDim}`, rope.config.headDim);
  checkInteger("sinkTokens", sinkTokens, { minimum: 0, maximum: MAXIMUM_SINKS });
  checkInteger("tailTokens", tailTokens, { minimum: 0 });
  const plans = options.layers === "fp16" ? new Array<"fp16">(shape.layers).fill("fp16") : options.layers;
  check(plans.length === shape.layers, "layers", `${shape.layers} plans, one a layer`, plans.length);
  if (attention !== undefined && quantizeOpenPage) throw new KvquantError("UNSUPPORTED", `quantizeOpenPage: expected a cache whose kernel sees decoded pages, got attention by ${attention.id}`);
  const pool = createWorkspacePool();
  for (const [index, plan] of plans.entries()) if (plan !== "fp16") checkPlan(`layers[${index}]`, plan, rope);
  const layers = makeLayers(plans.length, (index) => createLayerStore({ index, shape, rope, plan: plans[index]!, sinkTokens, tailTokens, quantizeOpenPage, kernel, attention, pool }));
  return assemble({ shape, backend: attention?.id ?? kernel.id, quantizeOpenPage }, layers);
}

/** All layers or none: a plug-in may hold memory of a device for each, and may run out of it half-way. */
function makeLayers(count: number, make: (index: number) => ManagedLayer): ManagedLayer[] {
  const made: ManagedLayer[] = [];
  try {
    for (let index = 0; index < count; index++) made.push(make(index));
    return made;
  } catch (error) {
    for (const layer of made) layer.release();
    throw error;
  }
}

function checkPlan(what: string, plan: LayerPlan, rope: Rope): void {
  checkLayerPlan(what, plan);
  if (plan.keyFrame === "post-rope" && rope.dependsOnLength) {
    throw new KvquantError("UNSUPPORTED", `${what}.keyFrame: expected pre-rope with ${rope.config.scaling.type} rope scaling, whose angles change as the sequence grows, got post-rope`);
  }
}

const layersOf = new WeakMap<KvCache, readonly ManagedLayer[]>();

function assemble(fixed: { readonly shape: CacheShape; readonly backend: string; readonly quantizeOpenPage: boolean }, layers: readonly ManagedLayer[]): KvCache {
  const { shape, backend, quantizeOpenPage } = fixed;
  let disposed = false;
  const checkOpen = (): void => {
    if (disposed) throw new KvquantError("DISPOSED", "cache: expected an open cache, got a disposed one");
  };
  const minimumLength = (): number => layers.reduce((least, layer) => Math.min(least, layer.length), Infinity);
  const sumPages = (of: "saturated" | "clamped"): number => {
    let sum = 0;
    for (const layer of layers) for (const page of layer.pages()) sum += page.key[of] + page.value[of];
    return sum;
  };
  const dispose = (): void => {
    if (disposed) return;
    disposed = true;
    for (const layer of layers) layer.release();
  };
  const cache: KvCache = {
    shape,
    quantizeOpenPage,
    get length() {
      checkOpen();
      return minimumLength();
    },
    get saturated() {
      checkOpen();
      return sumPages("saturated");
    },
    get clamped() {
      checkOpen();
      return sumPages("clamped");
    },
    layer(index) {
      checkOpen();
      checkInteger("layer", index, { minimum: 0, maximum: layers.length - 1 });
      return layers[index]!;
    },
    truncate(tokens) {
      checkOpen();
      checkInteger("truncate tokens", tokens, { minimum: 0, maximum: minimumLength() });
      for (const layer of layers) layer.checkIdle("truncate");
      for (const layer of layers) layer.truncate(tokens);
    },
    fork() {
      checkOpen();
      for (const layer of layers) layer.checkIdle("fork");
      return assemble(fixed, makeLayers(layers.length, (index) => layers[index]!.fork()));
    },
    checkpoint() {
      checkOpen();
      const restores = layers.map((layer) => layer.checkpoint());
      return () => {
        checkOpen();
        for (const layer of layers) layer.checkIdle("restore");
        for (const restore of restores) restore();
      };
    },
    bytes(beyond) {
      checkOpen();
      const others = beyond === undefined ? undefined : layersOf.get(beyond);
      check(beyond === undefined || others?.length === layers.length, "bytes: beyond", "a cache of the same kind and shape", "another");
      return sumBytes(layers.map((layer, index) => layer.bytes(others?.[index])), minimumLength());
    },
    bitsPerValue() {
      checkOpen();
      return pageBits(layers, shape.kvHeads * shape.headDim);
    },
    backends() {
      return [backend];
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
  layersOf.set(cache, layers);
  return cache;
}

function pageBits(layers: readonly ManagedLayer[], cols: number): CacheBits | undefined {
  let keyBytes = 0;
  let valueBytes = 0;
  let tokens = 0;
  for (const layer of layers) {
    for (const page of layer.closedPages()) {
      keyBytes += page.key.bytes.length;
      valueBytes += page.value.bytes.length;
      tokens += page.tokens;
    }
  }
  if (tokens === 0) return undefined;
  const key = (keyBytes * 8) / (tokens * cols);
  const value = (valueBytes * 8) / (tokens * cols);
  return { key, value, mean: (key + value) / 2 };
}
