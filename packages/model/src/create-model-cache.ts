/** Caches that fit a model and its engine. */

import { createKvCache } from "@kvquant/cache";
import type { KvCache, LayerPlan } from "@kvquant/cache";
import { createNativeCache, explainNativeCodec, openNativeCodec } from "@kvquant/cpu";
import type { NativeKvCache } from "@kvquant/cpu";
import { artifactTableBytes, checkArtifactModel, openArtifact } from "@kvquant/quant";
import type { KvqArtifact, Quantizer } from "@kvquant/quant";
import { createRope } from "@kvquant/rope";
import { KvquantError } from "@kvquant/spec";
import type { BlockCodec, CacheShape, QuantizerArtifact } from "@kvquant/spec";
import type { ModelConfig } from "./config/model-config.js";
import type { Engine } from "./engine/engine.js";
import { NativeEngine } from "./engine/native-engine.js";

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
}

/** The model a cache is for. */
export interface CacheModel {
  /** Caches whose tables can be shared, by artifact and options. */
  readonly shared: WeakMap<object, Map<string, NativeKvCache>>;
  readonly config: ModelConfig;
  readonly fingerprint: string;
  readonly shape: CacheShape;
  readonly engine: Engine;
}

/** Quantizers that only ever run on tiles: the ladder's rungs, which exist to be compared with. */
const TILE_QUANTIZERS = new Set(["kvquant/channel-keys-post-rope", "kvquant/token-keys-post-rope"]);

/**
 * An empty cache.
 * @throws MODEL_MISMATCH for an artifact of another model or another number of sinks; UNSUPPORTED when no kernel reads its pages and tiles were not asked for
 */
export function createModelCache(model: CacheModel, options: ModelCacheOptions): KvCache {
  const { artifact } = options;
  const sinkTokens = options.sinkTokens ?? (artifact === "fp16" ? 1 : artifact.sinkTokens);
  if (artifact !== "fp16") checkArtifactModel(artifact, { fingerprint: model.fingerprint, shape: model.shape, sinkTokens });
  return usesPages(model, options) ? nativeCache(model, options, sinkTokens) : tileCache(model, options, sinkTokens);
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
  const key = JSON.stringify([sinkTokens, tailTokens, precision]);
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
            tableBytes: layer === 0 ? artifactTableBytes(artifact) : 0,
          })),
    sinkTokens,
    threads,
    isa,
    ...(tailTokens === undefined ? {} : { tailTokens }),
    ...(precision === undefined ? {} : { precision }),
  });
}

function tileCache(model: CacheModel, options: ModelCacheOptions, sinkTokens: number): KvCache {
  const { artifact, tailTokens, quantizeOpenPage } = options;
  return createKvCache({
    shape: model.shape,
    rope: createRope(model.config.rope),
    layers: artifact === "fp16" ? "fp16" : layerPlans(model, artifact, options.quantizers),
    sinkTokens,
    ...(tailTokens === undefined ? {} : { tailTokens }),
    ...(quantizeOpenPage === undefined ? {} : { quantizeOpenPage }),
    kernel: model.engine.kernel,
  });
}

/** Plans with native codecs where the engine is native and has them: they write the same bytes. */
function layerPlans(model: CacheModel, artifact: KvqArtifact, quantizers: readonly Quantizer[] | undefined): LayerPlan[] {
  const plans = openArtifact(artifact, quantizers);
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
