/** What the caches of one model and artifact share on a device. */

import { createKvCache } from "@kvquant/cache";
import type { KvCache, LayerPlan, PageAttention } from "@kvquant/cache";
import { keyCodecOptions, valueCodecOptions } from "@kvquant/cpu";
import { createRope, ropeFrequencies } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import { KvquantError, PAGE_TOKENS, callNative, check, checkCacheShape, checkInteger } from "@kvquant/spec";
import type { CacheShape, QuantizerArtifact } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import { attendTogether } from "./attend-together.js";
import type { CudaKernels } from "./cuda-kernels.js";
import { createCudaLayer } from "./cuda-layer.js";
import type { CudaLayer, DevicePage } from "./cuda-layer.js";
import { CUDA_HEAD_DIMS, explainCudaCodec } from "./explain-cuda.js";

/** How a layer is compressed: codecs that encode on the host, and the fitted quantizers they are of. */
export interface CudaLayerPlan extends LayerPlan {
  readonly artifacts: { readonly key: QuantizerArtifact; readonly value: QuantizerArtifact };
}

/** What CUDA caches are made of. */
export interface CudaCacheOptions {
  readonly shape: CacheShape;
  readonly rope: RopeConfig;
  /** One entry a layer, or `"fp16"` for the exact baseline. */
  readonly layers: readonly (CudaLayerPlan | "fp16")[] | "fp16";
  /** First tokens kept exact, 0 to 64. Default 1. */
  readonly sinkTokens?: number;
  /** Newest tokens a query sees exactly, some thousands at most (UNSUPPORTED beyond). Default 64. */
  readonly tailTokens?: number;
  readonly kernels: CudaKernels;
}

/** A cache with its closed pages on the host and on the device. Device memory that runs out leaves it intact on the host: the call that needed more throws OUT_OF_CAPACITY, and can be repeated. */
export interface CudaKvCache extends KvCache {
  /** Bytes it takes on the device, its tables and working memory not counted; pages shared with forks count in each. @throws DISPOSED */
  deviceBytes(): number;
  /** Copies back the pages of a layer that lie on the device: those closed by the last attention. @throws INVALID_ARGUMENT, DISPOSED */
  downloadPages(layer: number): Promise<DevicePage[]>;
  fork(): CudaKvCache;
}

/** Tables on the device, and caches that use them. Their attentions of one layer share launches when they are called together: `await Promise.all(caches.map(...))`. What is wrong with one cache rejects its call alone. */
export interface CudaPlan {
  /** Bytes of the tables on the device. */
  deviceBytes(): number;
  /** An empty cache. */
  createCache(): CudaKvCache;
}

/**
 * Uploads the tables of a model's caches.
 * @throws UNSUPPORTED for shapes, quantizers or rope scaling without kernels; OUT_OF_CAPACITY, INVALID_ARGUMENT
 */
export function openCudaPlan(options: CudaCacheOptions): CudaPlan {
  const { shape, rope, sinkTokens = 1, tailTokens = 64, kernels } = options;
  checkCacheShape(shape);
  check(rope.headDim === shape.headDim, "rope.headDim", `the shape's head dim ${shape.headDim}`, rope.headDim);
  checkInteger("sinkTokens", sinkTokens, { minimum: 0 });
  if (sinkTokens > PAGE_TOKENS) throw new KvquantError("UNSUPPORTED", `sinkTokens: expected at most ${PAGE_TOKENS} in a CUDA cache, got ${sinkTokens}`);
  if (rope.scaling.type === "dynamic" || rope.scaling.type === "longrope") {
    throw new KvquantError("UNSUPPORTED", `rope: expected angles that do not depend on the length (none, linear, yarn, llama3, factors), got ${rope.scaling.type}; use the reference engine`);
  }
  const layers = options.layers === "fp16" ? new Array<"fp16">(shape.layers).fill("fp16") : options.layers;
  check(layers.length === shape.layers, "layers", `${shape.layers} plans, one a layer`, layers.length);
  if (layers.some((plan) => plan !== "fp16") && CUDA_HEAD_DIMS.includes(shape.headDim)) {
    const most = loadAddon().mostTailTokens(shape.headDim);
    if (tailTokens > most) throw new KvquantError("UNSUPPORTED", `tailTokens: expected at most ${most} in a CUDA cache of head dim ${shape.headDim}, got ${tailTokens}; use the cpu backend`);
  }
  const { inverseFrequencies, attentionFactor } = ropeFrequencies(rope);
  const tables = callNative(
    () =>
      new (loadAddon().Tables)(kernels.handle, {
        ...shape,
        sinkTokens,
        rotaryDim: rope.rotaryDim,
        attentionFactor,
        frequencies: inverseFrequencies,
        layers: layers.map((plan, index) => (plan === "fp16" ? null : codecOptions(plan, index))),
      }),
  );
  const sharedRope = createRope(rope);
  const attends = layers.map((_, layer) => attendTogether((calls) => tables.attend(layer, calls)));
  return {
    deviceBytes: () => tables.bytes(),
    createCache() {
      // Layers are opened, and forked, in the order of their numbers.
      let opened: CudaLayer[] = [];
      const add = (layer: CudaLayer): CudaLayer => (opened.push(layer), layer);
      const attention: PageAttention = {
        specVersion: 1,
        id: cudaBackendId(kernels),
        openLayer: (layer) => add(createCudaLayer({ shape, attend: attends[layer]!, onFork: add }, callNative(() => new (loadAddon().Layer)(tables, layer)))),
      };
      const takeOpened = (): CudaLayer[] => {
        const layersOfCache = opened;
        opened = [];
        return layersOfCache;
      };
      return onDevice(createKvCache({ shape, rope: sharedRope, layers, sinkTokens, tailTokens, attention }), takeOpened);
    },
  };
}

const cudaCaches = new WeakSet<object>();

/** Whether a cache is one of this package, whose attentions share launches with those of its plan. */
export function isCudaCache(cache: KvCache): cache is CudaKvCache {
  return cudaCaches.has(cache);
}

/** Adds what only a cache on a device has. It stays the same object: `bytes(beyond)` knows caches by it. */
function onDevice(cache: KvCache, takeOpened: () => CudaLayer[]): CudaKvCache {
  const layers = takeOpened();
  const fork = cache.fork.bind(cache);
  const device = Object.assign(cache, {
    deviceBytes: () => layers.reduce((sum, layer) => sum + layer.deviceBytes(), 0),
    async downloadPages(layer: number) {
      checkInteger("layer", layer, { minimum: 0, maximum: layers.length - 1 });
      return layers[layer]!.downloadPages();
    },
    fork: () => onDevice(fork(), takeOpened),
  });
  cudaCaches.add(device);
  return device;
}

/** An empty cache with tables of its own; see {@link openCudaPlan}, which shares them. */
export function createCudaCache(options: CudaCacheOptions): CudaKvCache {
  return openCudaPlan(options).createCache();
}

/** The backend's name in `KvCache.backends()`, such as `cuda-sm90`. */
export function cudaBackendId({ device }: CudaKernels): string {
  return `cuda-sm${device.info.computeCapability.replace(".", "")}`;
}

function codecOptions(plan: CudaLayerPlan, index: number): { key: ReturnType<typeof keyCodecOptions>; value: ReturnType<typeof valueCodecOptions> } {
  const { key, value } = plan.artifacts;
  const reason = explainCudaCodec(key) ?? explainCudaCodec(value);
  if (reason !== undefined) throw new KvquantError("UNSUPPORTED", `layers[${index}]: ${reason}`);
  if (plan.keyFrame !== "pre-rope") throw new KvquantError("UNSUPPORTED", `layers[${index}].keyFrame: expected pre-rope keys, got ${plan.keyFrame}`);
  return { key: keyCodecOptions(key), value: valueCodecOptions(value) };
}
