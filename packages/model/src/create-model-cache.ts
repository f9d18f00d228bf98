/** Caches that fit a model and its engine. */

import { createKvCache, typescriptKernel } from "@kvquant/cache";
import type { KvCache, LayerPlan } from "@kvquant/cache";
import { createNativeCache, explainNativeCodec, openNativeCodec } from "@kvquant/cpu";
import type { NativeKvCache } from "@kvquant/cpu";
import { artifactTableBytes, checkArtifactModel, openArtifact } from "@kvquant/quant";
import type { KvqArtifact, Quantizer } from "@kvquant/quant";
import { createRope } from "@kvquant/rope";
import { KvquantError } from "@kvquant/spec";
import type { AttentionKernel, BlockCodec, CacheShape, QuantizerArtifact } from "@kvquant/spec";
import type { ModelConfig } from "./config/model-config.js";
import type { CudaCaches } from "./cuda-caches.js";
import type { Engine } from "./engine/engine.js";
import { NativeEngine } from "./engine/native-engine.js";

/** Where a cache attends: kernels on a GPU, native kernels of the CPU, or plain TypeScript. */
export type CacheBackend = "cuda" | "cpu" | "reference";

/** How a cache of a model is made. */
export interface ModelCacheOptions {
  /** A fitted artifact of this model, or `"fp16"` for the exact baseline. */
  readonly artifact: KvqArtifact | "fp16";
  /** Sink tokens, default 1; must equal the artifact's. */
  readonly sinkTokens?: number | undefined;
  /** Newest tokens kept exact, default 64. */
  readonly tailTokens?: number | undefined;
  /** Evaluation only: every token after the sinks is seen compressed. */
  readonly quantizeOpenPage?: boolean | undefined;
  /** Custom quantizers the artifact may name. */
  readonly quantizers?: readonly Quantizer[] | undefined;
  /**
   * `pages`: native attention on compressed pages. `tiles`: pages are decoded to fp32 first, which any quantizer can do. Default: `pages` on the native engine, unless the artifact names a
   * custom quantizer or one of the ladder's rungs, or `quantizeOpenPage` is set; `tiles` then, and on the reference engine. `cache.backends()` tells.
   */
  readonly attention?: "pages" | "tiles" | undefined;
  /** Arithmetic of attention on pages: `fast` (default) or `exact`. */
  readonly precision?: "fast" | "exact" | undefined;
  /**
   * Backends to attend on, the first that can be had; `cache.backends()` says which it is, and `onSkippedBackend` is told why others before it are not. Without any of those asked for there is
   * no cache but an error. Default: the engine's own.
   */
  readonly backends?: readonly CacheBackend[] | undefined;
  readonly onSkippedBackend?: ((backend: CacheBackend, reason: string) => void) | undefined;
}

/** The model a cache is for. */
export interface CacheModel {
  /** Caches whose tables can be shared, by artifact and options. */
  readonly shared: WeakMap<object, Map<string, NativeKvCache>>;
  readonly config: ModelConfig;
  readonly fingerprint: string;
  readonly shape: CacheShape;
  readonly engine: Engine;
  /** Caches on a GPU. */
  readonly cuda: CudaCaches;
}

/** Quantizers that only ever run on tiles: the ladder's rungs, which exist to be compared with. */
const TILE_QUANTIZERS = new Set(["kvquant/channel-keys-post-rope", "kvquant/token-keys-post-rope"]);

/**
 * An empty cache.
 * @throws MODEL_MISMATCH for an artifact of another model or another number of sinks; UNSUPPORTED when no kernel reads its pages and tiles were not asked for; NATIVE_UNAVAILABLE when none of the
 * backends asked for can be had
 */
export function createModelCache(model: CacheModel, options: ModelCacheOptions): KvCache {
  const { artifact } = options;
  const sinkTokens = options.sinkTokens ?? (artifact === "fp16" ? 1 : artifact.sinkTokens);
  if (artifact !== "fp16") checkArtifactModel(artifact, { fingerprint: model.fingerprint, shape: model.shape, sinkTokens });
  return options.backends === undefined ? engineCache(model, options, sinkTokens) : backendCache(model, options, sinkTokens);
}

/** The cache that suits the engine. */
function engineCache(model: CacheModel, options: ModelCacheOptions, sinkTokens: number): KvCache {
  return usesPages(model, options) ? nativeCache(model, options, sinkTokens) : tileCache(model, options, sinkTokens, model.engine.kernel);
}

/** The cache of the first backend of the list that can be had. */
function backendCache(model: CacheModel, options: ModelCacheOptions, sinkTokens: number): KvCache {
  const { artifact, tailTokens, backends = [], onSkippedBackend } = options;
  const reasons: string[] = [];
  for (const backend of backends) {
    const reason = explainBackend(model, options, backend);
    if (reason === undefined) {
      if (backend === "reference") return tileCache(model, options, sinkTokens, typescriptKernel);
      if (backend === "cpu") return engineCache(model, options, sinkTokens);
      const plans = (): LayerPlan[] => layerPlans(model, artifact as KvqArtifact, options.quantizers);
      return model.cuda.create({ shape: model.shape, rope: model.config.rope, artifact, plans, sinkTokens, tailTokens });
    }
    reasons.push(`${backend}: ${reason}`);
    onSkippedBackend?.(backend, reason);
  }
  throw new KvquantError("NATIVE_UNAVAILABLE", `backends: expected one of ${backends.join(", ") || "a list that is not empty"}, got none; ${reasons.join("; ")}`);
}

/** Why a backend cannot make the cache; undefined when it can. */
function explainBackend({ engine, cuda, config }: CacheModel, { artifact, attention, quantizeOpenPage, precision }: ModelCacheOptions, backend: CacheBackend): string | undefined {
  if (backend === "reference") return undefined;
  if (backend === "cpu") return engine instanceof NativeEngine ? undefined : `no native kernels run with the ${engine.id} engine`;
  if (attention === "tiles" || quantizeOpenPage === true) return "it attends to compressed pages only, tiles or quantizeOpenPage were asked for";
  if (precision === "exact") return "it has no exact precision";
  const { type } = config.rope.scaling;
  if (type === "dynamic" || type === "longrope") return `it has no rope scaling of the type ${type}`;
  return cuda.explain(artifact, config.headDim);
}

function usesPages({ engine }: CacheModel, { artifact, attention, quantizeOpenPage }: ModelCacheOptions): boolean {
  if (attention === "tiles") return false;
  if (attention === "pages") {
    if (!(engine instanceof NativeEngine)) throw new KvquantError("UNSUPPORTED", `attention on pages: expected the native engine, got ${engine.id}`);
    if (quantizeOpenPage === true) throw new KvquantError("UNSUPPORTED", "attention on pages: expected a cache with exact newest tokens; quantizeOpenPage needs attention: tiles");
    return true;
  }
  if (!(engine instanceof NativeEngine) || quantizeOpenPage === true) return false;
  return artifact === "fp16" || artifact.layers.every(({ key, value }) => [key, value].every(({ id }) => id.startsWith("kvquant/") && !TILE_QUANTIZERS.has(id)));
}

/** Caches of one artifact and options share their tables: the first one is made, the others are made like it. */
function nativeCache(model: CacheModel, options: ModelCacheOptions, sinkTokens: number): KvCache {
  const { artifact, tailTokens, precision } = options;
  const key = `${sinkTokens}/${tailTokens}/${precision}`; // not JSON, which writes null for NaN and Infinity too
  const owner = artifact === "fp16" ? model.shared : artifact;
  let ofArtifact = model.shared.get(owner);
  if (ofArtifact === undefined) model.shared.set(owner, (ofArtifact = new Map()));
  let pattern = ofArtifact.get(key);
  if (pattern === undefined) ofArtifact.set(key, (pattern = makeNativeCache(model, options, sinkTokens)));
  return pattern.another();
}

function makeNativeCache(model: CacheModel, { artifact, tailTokens, precision }: ModelCacheOptions, sinkTokens: number): NativeKvCache {
  const { threads, isa } = model.engine as NativeEngine;
  const missing = artifact === "fp16" ? undefined : artifact.layers.flatMap(({ key, value }) => [key, value]).map(explainNativeCodec).find((reason) => reason !== undefined);
  if (missing !== undefined) throw new KvquantError("UNSUPPORTED", `${missing}; decode pages first with attention: tiles (--attention tiles), or use the reference engine (--engine reference)`);
  return createNativeCache({
    shape: model.shape,
    rope: model.config.rope,
    layers:
      artifact === "fp16"
        ? "fp16"
        : artifact.layers.map(({ key, value }, layer) => ({
            key: openNativeCodec(key, { isa }),
            value: openNativeCodec(value, { isa }),
            tableBytes: tableBytesOf(artifact, layer),
          })),
    sinkTokens,
    threads,
    isa,
    ...(tailTokens === undefined ? {} : { tailTokens }),
    ...(precision === undefined ? {} : { precision }),
  });
}

function tileCache(model: CacheModel, options: ModelCacheOptions, sinkTokens: number, kernel: AttentionKernel): KvCache {
  const { artifact, tailTokens, quantizeOpenPage } = options;
  return createKvCache({
    shape: model.shape,
    rope: createRope(model.config.rope),
    layers: artifact === "fp16" ? "fp16" : layerPlans(model, artifact, options.quantizers),
    sinkTokens,
    ...(tailTokens === undefined ? {} : { tailTokens }),
    ...(quantizeOpenPage === undefined ? {} : { quantizeOpenPage }),
    kernel,
  });
}

/** Tables are counted once, with the first layer. */
function tableBytesOf(artifact: KvqArtifact, layer: number): number {
  return layer === 0 ? artifactTableBytes(artifact) : 0;
}

/** Plans with native codecs where the engine is native and has them: they write the same bytes. */
function layerPlans(model: CacheModel, artifact: KvqArtifact, quantizers: readonly Quantizer[] | undefined): LayerPlan[] {
  const plans = openArtifact(artifact, quantizers).map((plan, layer) => ({ ...plan, tableBytes: tableBytesOf(artifact, layer) }));
  const { engine } = model;
  if (!(engine instanceof NativeEngine)) return plans;
  const custom = new Set(quantizers?.map(({ id }) => id));
  const fastest = (fitted: QuantizerArtifact, codec: BlockCodec): BlockCodec =>
    custom.has(fitted.id) || explainNativeCodec(fitted) !== undefined ? codec : openNativeCodec(fitted, { isa: engine.isa });
  return plans.map((plan, layer) => {
    const { key, value } = artifact.layers[layer]!;
    return { ...plan, key: fastest(key, plan.key), value: fastest(value, plan.value) };
  });
}
