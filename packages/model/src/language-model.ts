/** A loaded language model: an open file, its tokenizer and an engine, with caches made to fit. */

import type { KvCache } from "@kvquant/cache";
import type { CudaDeviceOptions } from "@kvquant/cuda";
import { KvquantError } from "@kvquant/spec";
import type { CacheShape } from "@kvquant/spec";
import type { ModelConfig } from "./config/model-config.js";
import { checkContext } from "./check-context.js";
import { createModelCache } from "./create-model-cache.js";
import type { CacheBackend, CacheModel, ModelCacheOptions } from "./create-model-cache.js";
import { CudaCaches } from "./cuda-caches.js";
import { CalibrationPasses } from "./engine/calibration-passes.js";
import type { LayerAttention, LayerGradients, PassOptions } from "./engine/calibration-passes.js";
import type { Engine, ForwardOptions } from "./engine/engine.js";
import { ReferenceEngine } from "./engine/reference-engine.js";
import type { ModelFile } from "./files/model-file.js";
import type { Tokenizer } from "./tokenizer/tokenizer.js";

/** A model ready to run. Dispose it to free its memory. */
export class LanguageModel implements AsyncDisposable {
  readonly name: string;
  readonly config: ModelConfig;
  readonly fingerprint: string;
  readonly tokenizer: Tokenizer;
  readonly #file: ModelFile;
  readonly #engine: Engine;
  readonly #threads: number | undefined;
  readonly #attention: ModelCacheOptions["attention"];
  readonly #backends: ModelCacheOptions["backends"];
  readonly #cuda: CudaCaches;
  readonly #onWarning: ((message: string) => void) | undefined;
  /** Made when first needed, once for all who ask meanwhile. */
  #passes: Promise<CalibrationPasses> | undefined;
  /** Calibration differentiates in fp32, whatever engine runs the model; made when first needed unless it is that engine. */
  #reference: ReferenceEngine | undefined;
  readonly #sharedCaches: CacheModel["shared"] = new WeakMap();
  #warned = false;
  readonly #skipped = new Set<string>();
  #disposed = false;

  constructor(parts: { name: string; file: ModelFile; tokenizer: Tokenizer; engine: Engine; threads?: number | undefined; attention?: ModelCacheOptions["attention"]; backends?: ModelCacheOptions["backends"]; cuda?: CudaDeviceOptions | undefined; onWarning?: ((message: string) => void) | undefined }) {
    this.name = parts.name;
    this.config = parts.file.config;
    this.fingerprint = parts.file.fingerprint;
    this.tokenizer = parts.tokenizer;
    this.#file = parts.file;
    this.#engine = parts.engine;
    this.#threads = parts.threads;
    this.#attention = parts.attention;
    this.#backends = parts.backends;
    this.#cuda = new CudaCaches(parts.cuda);
    this.#onWarning = parts.onWarning;
  }

  /** The engine's id, such as `native-avx512` or `reference-fp32`. */
  get engine(): string {
    return this.#engine.id;
  }

  /** What runs the model, for those who batch sequences or measure it. */
  get runner(): Engine {
    this.#checkLive();
    return this.#engine;
  }

  /** The sizes caches of this model have. */
  get shape(): CacheShape {
    const { layers, queryHeads, kvHeads, headDim } = this.config;
    return { layers, queryHeads, kvHeads, headDim };
  }

  /**
   * An empty cache.
   * @throws MODEL_MISMATCH for an artifact of another model or another number of sinks; NATIVE_UNAVAILABLE when none of the backends asked for can be had
   */
  createCache(options: ModelCacheOptions): KvCache {
    this.#checkLive();
    return createModelCache(
      { shared: this.#sharedCaches, config: this.config, fingerprint: this.fingerprint, shape: this.shape, engine: this.#engine, cuda: this.#cuda },
      {
        ...options,
        attention: options.attention ?? this.#attention,
        backends: options.backends ?? this.#backends,
        onSkippedBackend: options.onSkippedBackend ?? ((backend, reason) => this.#warnOfBackend(backend, reason)),
      },
    );
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
    const passes = await this.#passes?.catch(() => undefined);
    await passes?.dispose();
    await this.#reference?.dispose();
    this.#cuda.dispose();
    await this.#engine.dispose();
    this.#file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #calibrationPasses(): Promise<CalibrationPasses> {
    this.#checkLive();
    return (this.#passes ??= this.#openPasses().catch((error: unknown) => {
      this.#passes = undefined;
      throw error;
    }));
  }

  async #openPasses(): Promise<CalibrationPasses> {
    if (this.#engine instanceof ReferenceEngine) return CalibrationPasses.create(this.#engine);
    this.#reference ??= await ReferenceEngine.create(this.#file, { threads: this.#threads });
    return CalibrationPasses.create(this.#reference);
  }

  /** Warns once of a backend that cannot be had. */
  #warnOfBackend(backend: CacheBackend, reason: string): void {
    const warning = `the ${backend} backend is not used: ${reason}`;
    if (this.#skipped.has(warning)) return;
    this.#skipped.add(warning);
    this.#onWarning?.(warning);
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
