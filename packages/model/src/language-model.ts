/** A loaded language model: an open file, its tokenizer and an engine, with caches made to fit. */

import { createKvCache } from "@kvquant/cache";
import type { KvCache } from "@kvquant/cache";
import { checkArtifactModel, openArtifact } from "@kvquant/quant";
import type { KvqArtifact, Quantizer } from "@kvquant/quant";
import { createRope } from "@kvquant/rope";
import { KvquantError } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";
import type { ModelConfig } from "./config/model-config.js";
import { checkContext } from "./check-context.js";
import { CalibrationPasses } from "./engine/calibration-passes.js";
import type { LayerAttention, LayerGradients, PassOptions } from "./engine/calibration-passes.js";
import type { ForwardOptions } from "./engine/engine.js";
import type { ReferenceEngine } from "./engine/reference-engine.js";
import type { ModelFile } from "./files/model-file.js";
import type { Tokenizer } from "./tokenizer/tokenizer.js";

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
}

/** A model ready to run. Dispose it to free its memory. */
export class LanguageModel implements AsyncDisposable {
  readonly name: string;
  readonly config: ModelConfig;
  readonly fingerprint: string;
  readonly tokenizer: Tokenizer;
  readonly #file: ModelFile;
  readonly #engine: ReferenceEngine;
  readonly #onWarning: ((message: string) => void) | undefined;
  #passes: CalibrationPasses | undefined;
  #warned = false;
  #disposed = false;

  constructor(parts: { name: string; file: ModelFile; tokenizer: Tokenizer; engine: ReferenceEngine; onWarning?: ((message: string) => void) | undefined }) {
    this.name = parts.name;
    this.config = parts.file.config;
    this.fingerprint = parts.file.fingerprint;
    this.tokenizer = parts.tokenizer;
    this.#file = parts.file;
    this.#engine = parts.engine;
    this.#onWarning = parts.onWarning;
  }

  /** The engine's id, such as `reference-fp32`. */
  get engine(): string {
    return this.#engine.id;
  }

  /** The sizes caches of this model have. */
  get shape(): CacheShape {
    const { layers, queryHeads, kvHeads, headDim } = this.config;
    return { layers, queryHeads, kvHeads, headDim };
  }

  /**
   * An empty cache.
   * @throws MODEL_MISMATCH for an artifact of another model or another number of sinks
   */
  createCache(options: ModelCacheOptions): KvCache {
    this.#checkLive();
    const sinkTokens = options.sinkTokens ?? (options.artifact === "fp16" ? 1 : options.artifact.sinkTokens);
    if (options.artifact !== "fp16") {
      checkArtifactModel(options.artifact, { fingerprint: this.fingerprint, shape: this.shape, sinkTokens });
    }
    return createKvCache({
      shape: this.shape,
      rope: createRope(this.config.rope),
      layers: options.artifact === "fp16" ? "fp16" : openArtifact(options.artifact, options.quantizers),
      sinkTokens,
      ...(options.tailTokens === undefined ? {} : { tailTokens: options.tailTokens }),
      ...(options.quantizeOpenPage === undefined ? {} : { quantizeOpenPage: options.quantizeOpenPage }),
      kernel: this.#engine.kernel,
    });
  }

  /**
   * Appends tokens to the cache and returns their final normalised hidden states `[tokens, width]`.
   * @throws INVALID_ARGUMENT for no tokens, tokens outside the vocabulary, or a context the model's RoPE rule cannot reach
   */
  forward(tokens: ArrayLike<number>, cache: KvCache, options: ForwardOptions = {}): Promise<Float32Array> {
    this.#checkLive();
    this.#checkContext(cache.length + tokens.length);
    return this.#engine.forward(tokens, cache, options);
  }

  /** Logits `[rows, vocabulary]` of hidden states `[rows, width]`; the buffer is reused by the next call. */
  logits(hidden: Float32Array, rows: number): Promise<Float32Array> {
    this.#checkLive();
    return this.#engine.logits(hidden, rows);
  }

  /** Log-softmax `[rows, vocabulary]` of the logits; the buffer is reused by the next call. */
  logProbabilities(hidden: Float32Array, rows: number): Promise<Float32Array> {
    this.#checkLive();
    return this.#engine.logProbabilities(hidden, rows);
  }

  /**
   * Gradients of the summed next-token loss of a window at every key (before RoPE) and value, layer by layer from the last.
   * Returns the summed loss in nats and the number of scored tokens.
   */
  async gradients(tokens: ArrayLike<number>, options: PassOptions<LayerGradients>): Promise<{ loss: number; scored: number }> {
    this.#checkContext(tokens.length);
    return (await this.#calibrationPasses()).gradients(tokens, options);
  }

  /**
   * Keys, values, queries and attention column sums of a window, layer by layer from the first, all in fp32.
   * Returns the final normalised hidden states `[tokens, width]`.
   */
  async captureAttention(tokens: ArrayLike<number>, options: PassOptions<LayerAttention>): Promise<Float32Array> {
    this.#checkContext(tokens.length);
    return (await this.#calibrationPasses()).captureAttention(tokens, options);
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#passes?.dispose();
    await this.#engine.dispose();
    this.#file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #calibrationPasses(): Promise<CalibrationPasses> {
    this.#checkLive();
    this.#passes ??= await CalibrationPasses.create(this.#engine);
    return this.#passes;
  }

  /** Warns once of a context longer than the model was trained for. */
  #checkContext(length: number): void {
    const warning = checkContext(this.config, length);
    if (warning === undefined || this.#warned) return;
    this.#warned = true;
    this.#onWarning?.(warning);
  }

  #checkLive(): void {
    if (this.#disposed) throw new KvquantError("DISPOSED", `model ${this.name}: expected a live model, got one already disposed; load it again`);
  }
}
