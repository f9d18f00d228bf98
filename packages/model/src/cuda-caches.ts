/** Caches of a model on a GPU: the device is opened by the first of them, tables are shared by those of one artifact. */

import type { KvCache, LayerPlan } from "@kvquant/cache";
import { createCudaDevice, createCudaKernels, explainCuda, explainCudaCodec, openCudaPlan } from "@kvquant/cuda";
import type { CudaDeviceOptions, CudaKernels, CudaPlan } from "@kvquant/cuda";
import type { KvqArtifact } from "@kvquant/quant";
import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape } from "@kvquant/spec";

/** What a cache on the device is made of. */
export interface CudaCacheRequest {
  readonly shape: CacheShape;
  readonly rope: RopeConfig;
  readonly artifact: KvqArtifact | "fp16";
  /** Plans of the artifact, with the codecs that encode on the host; not called for fp16. */
  readonly plans: () => readonly LayerPlan[];
  readonly sinkTokens: number;
  readonly tailTokens: number | undefined;
}

/** One model's caches on one device. */
export class CudaCaches implements Disposable {
  readonly #options: CudaDeviceOptions;
  readonly #plans = new WeakMap<object, Map<string, CudaPlan>>();
  #kernels: CudaKernels | undefined;

  constructor(options: CudaDeviceOptions = {}) {
    this.#options = options;
  }

  /** Why no cache of an artifact can be had on a GPU here; undefined when one can. */
  explain(artifact: KvqArtifact | "fp16", headDim: number): string | undefined {
    const reason = explainCuda(headDim, this.#options.ordinal);
    if (reason !== undefined || artifact === "fp16") return reason;
    return artifact.layers.flatMap(({ key, value }) => [key, value]).map(explainCudaCodec).find((each) => each !== undefined);
  }

  /** An empty cache. @throws NATIVE_UNAVAILABLE, UNSUPPORTED, OUT_OF_CAPACITY */
  create(request: CudaCacheRequest): KvCache {
    const { artifact, sinkTokens, tailTokens } = request;
    const owner = artifact === "fp16" ? this : artifact;
    let ofArtifact = this.#plans.get(owner);
    if (ofArtifact === undefined) this.#plans.set(owner, (ofArtifact = new Map()));
    const key = `${sinkTokens}/${tailTokens}`; // not JSON, which writes null for NaN and Infinity too
    let plan = ofArtifact.get(key);
    if (plan === undefined) ofArtifact.set(key, (plan = this.#open(request)));
    return plan.createCache();
  }

  /** Closes the device; caches on it are void. @throws INVALID_ARGUMENT while one attends */
  dispose(): void {
    this.#kernels?.device.dispose();
    this.#kernels = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #open({ shape, rope, artifact, plans, sinkTokens, tailTokens }: CudaCacheRequest): CudaPlan {
    const layers = artifact === "fp16" ? "fp16" : plans().map((plan, layer) => ({ ...plan, artifacts: artifact.layers[layer]! }));
    return openCudaPlan({ shape, rope, layers, sinkTokens, ...(tailTokens === undefined ? {} : { tailTokens }), kernels: this.#device() });
  }

  #device(): CudaKernels {
    if (this.#kernels !== undefined) return this.#kernels;
    const device = createCudaDevice(this.#options);
    try {
      return (this.#kernels = createCudaKernels(device));
    } catch (error) {
      device.dispose();
      throw error;
    }
  }
}
