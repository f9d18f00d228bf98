/** The reference engine: dense products by onnxruntime in fp32, attention through the cache. Exact and portable, not fast. */

import type { KvCache } from "@kvquant/cache";
import type { AttentionKernel } from "@kvquant/spec";
import type { ModelConfig } from "../config/model-config.js";
import type { ModelFile } from "../files/model-file.js";
import { checkTokens } from "./check-tokens.js";
import { createActivations, DenseLayers } from "./dense-layers.js";
import type { Engine, ForwardOptions } from "./engine.js";
import { Head } from "./head.js";
import { createOnnxAttentionKernel } from "./onnx-attention-kernel.js";
import { throwIfAborted } from "./throw-if-aborted.js";
import { readWeights } from "./weights.js";
import type { Weights } from "./weights.js";

/** Tokens of one pass; longer prompts are cut, which changes no result (the position rule of the cache), except under the protocol without a tail. */
const PASS_TOKENS = 2048;

/** Options of the reference engine. */
export interface ReferenceEngineOptions {
  /** Threads of one product, default all processors. */
  readonly threads?: number | undefined;
  readonly onLayerLoaded?: ((done: number, total: number) => void) | undefined;
}

/** The engine, with what gradients and calibration need of its insides. */
export class ReferenceEngine implements Engine {
  readonly id = "reference-fp32";
  readonly config: ModelConfig;
  readonly kernel: AttentionKernel;
  readonly file: ModelFile;
  readonly weights: Weights;
  readonly dense: DenseLayers;
  readonly head: Head;
  readonly threads: number | undefined;
  readonly #disposeKernel: () => Promise<void>;

  private constructor(parts: { file: ModelFile; weights: Weights; dense: DenseLayers; head: Head; kernel: Awaited<ReturnType<typeof createOnnxAttentionKernel>>; threads: number | undefined }) {
    this.config = parts.file.config;
    this.file = parts.file;
    this.weights = parts.weights;
    this.dense = parts.dense;
    this.head = parts.head;
    this.kernel = parts.kernel;
    this.threads = parts.threads;
    this.#disposeKernel = () => parts.kernel.dispose();
  }

  /** Reads the weights of an open model file; the file stays owned by the caller. */
  static async create(file: ModelFile, options: ReferenceEngineOptions = {}): Promise<ReferenceEngine> {
    const { threads } = options;
    const weights = readWeights(file, options.onLayerLoaded);
    return new ReferenceEngine({
      file,
      weights,
      dense: await DenseLayers.create(file.config, weights, threads),
      head: await Head.create(file.config, weights.head, threads),
      kernel: await createOnnxAttentionKernel(file.config.headDim, threads),
      threads,
    });
  }

  async forward(tokens: ArrayLike<number>, cache: KvCache, options: ForwardOptions = {}): Promise<Float32Array> {
    checkTokens(tokens, this.config.vocabulary);
    const { width } = this.config;
    const restore = cache.checkpoint();
    const hidden = new Float32Array(tokens.length * width);
    try {
      const passTokens = cache.quantizeOpenPage ? tokens.length : PASS_TOKENS;
      for (let start = 0; start < tokens.length; start += passTokens) {
        const pass = Array.prototype.slice.call(tokens, start, start + passTokens) as number[];
        hidden.set(await this.#forwardPass(pass, cache, options), start * width);
      }
    } catch (error) {
      restore();
      throw error;
    }
    return hidden;
  }

  logits(hidden: Float32Array, rows: number): Promise<Float32Array> {
    return this.head.logits(hidden, rows);
  }

  logProbabilities(hidden: Float32Array, rows: number): Promise<Float32Array> {
    return this.head.logProbabilities(hidden, rows);
  }

  async dispose(): Promise<void> {
    await Promise.all([this.dense.dispose(), this.head.dispose(), this.#disposeKernel()]);
  }

  async #forwardPass(tokens: readonly number[], cache: KvCache, options: ForwardOptions): Promise<Float32Array> {
    const { layers, queryHeads, kvHeads, headDim } = this.config;
    const rows = tokens.length;
    const activations = createActivations(this.config, rows);
    this.file.embeddingRows(tokens, activations.x);
    for (let layer = 0; layer < layers; layer++) {
      throwIfAborted(options.signal);
      await this.dense.project(layer, rows, activations);
      const store = cache.layer(layer);
      store.append(
        { data: activations.key, rows, cols: kvHeads * headDim },
        { data: activations.value, rows, cols: kvHeads * headDim },
      );
      await store.attend(
        { data: activations.query, rows, cols: queryHeads * headDim },
        { data: activations.attention, rows, cols: queryHeads * headDim },
      );
      await this.dense.feedForward(layer, rows, activations);
      options.onLayer?.(layer + 1);
    }
    return this.dense.finalNorm(activations.x, rows);
  }
}
