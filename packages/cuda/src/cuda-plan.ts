/** What the caches of one model and artifact share on a device. */

import { createKvCache } from "@kvquant/cache";
import type { KvCache, LayerPlan, PageAttention } from "@kvquant/cache";
import { keyCodecOptions, valueCodecOptions } from "@kvquant/cpu";
import { createRope, ropeFrequencies } from "@kvquant/rope";
import type { RopeConfig } from "@kvquant/rope";
import { KvquantError, PAGE_TOKENS, callNative, check, checkCacheShape, checkInteger } from "@kvquant/spec";
import type { CacheShape, QuantizerArtifact } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonTables } from "./addon.js";
import { createCudaLayer } from "./cuda-layer.js";
import type { CudaKernels } from "./cuda-kernels.js";
import { explainCudaCodec } from "./explain-cuda.js";

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
  /** Newest tokens a query sees exactly. Default 64. */
  readonly tailTokens?: number;
  readonly kernels: CudaKernels;
}

/** Tables on the device, and caches that use them. */
export interface CudaPlan {
  /** Bytes of the tables on the device. */
  deviceBytes(): number;
  /** An empty cache. Its closed pages are kept on the host and on the device. */
  createCache(): KvCache;
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
  const attention = createCudaAttention({ shape, kernels, tables });
  const sharedRope = createRope(rope);
  return {
    deviceBytes: () => tables.bytes(),
    createCache: () => createKvCache({ shape, rope: sharedRope, layers, sinkTokens, tailTokens, attention }),
  };
}

/** An empty cache with tables of its own; see {@link openCudaPlan}, which shares them. */
export function createCudaCache(options: CudaCacheOptions): KvCache {
  return openCudaPlan(options).createCache();
}

/** The backend's name in `KvCache.backends()`, such as `cuda-sm90`. */
export function cudaBackendId({ device }: CudaKernels): string {
  return `cuda-sm${device.info.computeCapability.replace(".", "")}`;
}

function createCudaAttention({ shape, kernels, tables }: { readonly shape: CacheShape; readonly kernels: CudaKernels; readonly tables: AddonTables }): PageAttention {
  return { specVersion: 1, id: cudaBackendId(kernels), openLayer: (layer) => createCudaLayer(shape, callNative(() => new (loadAddon().Layer)(tables, layer))) };
}

function codecOptions(plan: CudaLayerPlan, index: number): { key: ReturnType<typeof keyCodecOptions>; value: ReturnType<typeof valueCodecOptions> } {
  const { key, value } = plan.artifacts;
  const reason = explainCudaCodec(key) ?? explainCudaCodec(value);
  if (reason !== undefined) throw new KvquantError("UNSUPPORTED", `layers[${index}]: ${reason}`);
  if (plan.keyFrame !== "pre-rope") throw new KvquantError("UNSUPPORTED", `layers[${index}].keyFrame: expected pre-rope keys, got ${plan.keyFrame}`);
  return { key: keyCodecOptions(key), value: valueCodecOptions(value) };
}
