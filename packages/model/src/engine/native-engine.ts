/** The native engine: packed weights and whole steps of `@kvquant/cpu`. Fast; 8-bit activations unless told otherwise. */

import type { KvCache } from "@kvquant/cache";
import { createNativeKernel, isNativeCache, NativeModel } from "@kvquant/cpu";
import type { Isa, MatrixPart, NativeKvCache, NativeThreads, VectorPart } from "@kvquant/cpu";
import { isCudaCache } from "@kvquant/cuda";
import { check } from "@kvquant/spec";
import type { AttentionKernel } from "@kvquant/spec";
import type { ModelConfig } from "../config/model-config.js";
import type { TensorName } from "../config/tensor-name.js";
import type { ModelFile } from "../files/model-file.js";
import { checkTokens } from "./check-tokens.js";
import type { Engine, ForwardOptions } from "./engine.js";
import { checkpointAll, runLayeredStep } from "./layered-step.js";
import type { LayeredSequence } from "./layered-step.js";
import { throwIfAborted } from "./throw-if-aborted.js";

/** Tokens of one native step: enough rows to multiply well, few enough to keep working memory and the answer to a cancellation short. */
const PASS_TOKENS = 512;
/** Rows of the head computed at once by `logits`. */
const LOGIT_ROWS = 256;

const MATRICES: readonly Exclude<MatrixPart, "output">[] = ["query", "key", "value", "attention_output", "gate", "up", "down"];

/** Options of the native engine. */
export interface NativeEngineOptions {
  readonly threads: NativeThreads;
  readonly isa?: Isa | undefined;
  /**
   * Products with fp32 activations instead of 8-bit ones: `none` (default), `head-and-cache` for the head and the key and value projections, `all`.
   * 8-bit activations cost about 0.004 nats of KL divergence (llama.cpp does the same).
   */
  readonly exactProducts?: "none" | "head-and-cache" | "all" | undefined;
  readonly onLayerLoaded?: ((done: number, total: number) => void) | undefined;
}

/** Tokens that extend one sequence of a batch. */
export interface BatchSequence {
  readonly cache: KvCache;
  /** At least one. */
  readonly tokens: ArrayLike<number>;
  /** Whether the logits of the last of them are wanted. */
  readonly logits: boolean;
}

/** Runs a model file natively. Caches may be native (a step is one call) or any other (a step is two calls a layer, around the caches' own attention). */
export class NativeEngine implements Engine {
  readonly id: string;
  readonly config: ModelConfig;
  readonly kernel: AttentionKernel;
  readonly threads: NativeThreads;
  readonly isa: Isa;
  readonly native: NativeModel;
  readonly #file: ModelFile;
  #logits = new Float32Array(0);
  /** Calls run one after another: they share working memory. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(file: ModelFile, native: NativeModel, exactProducts: string) {
    this.#file = file;
    this.config = file.config;
    this.native = native;
    this.threads = native.threads;
    this.isa = native.isa;
    this.id = `native-${native.isa}${exactProducts === "none" ? "" : `-exact-${exactProducts}`}`;
    this.kernel = createNativeKernel(native.threads, { isa: native.isa });
  }

  /**
   * Packs the weights of an open model file; the file stays owned by the caller and open, embeddings are read from it.
   * @throws UNSUPPORTED for tensor types or rope scaling without kernels; OUT_OF_CAPACITY
   */
  static create(file: ModelFile, options: NativeEngineOptions): NativeEngine {
    const { config } = file;
    const { exactProducts = "none", onLayerLoaded } = options;
    const native = new NativeModel(config, { threads: options.threads, ...(options.isa === undefined ? {} : { isa: options.isa }) });
    try {
      const isExact = (part: MatrixPart): boolean => exactProducts === "all" || (exactProducts === "head-and-cache" && (part === "key" || part === "value" || part === "output"));
      for (let layer = 0; layer < config.layers; layer++) {
        for (const part of MATRICES) native.setMatrix(layer, part, file.storedMatrix(`layers.${layer}.${part}`), isExact(part));
        for (const part of vectorParts(config)) native.setVector(layer, part, file.tensor(`layers.${layer}.${part}` as TensorName));
        onLayerLoaded?.(layer + 1, config.layers);
      }
      native.setMatrix(undefined, "output", file.storedMatrix("output"), isExact("output"));
      native.setVector(undefined, "output_norm", file.tensor("output_norm"));
      native.ready();
      return new NativeEngine(file, native, exactProducts);
    } catch (error) {
      native.dispose();
      throw error;
    }
  }

  forward(tokens: ArrayLike<number>, cache: KvCache, options: ForwardOptions = {}): Promise<Float32Array> {
    return this.#enqueue(() => this.#forward(tokens, cache, options));
  }

  /** Whether sequences with caches like this one share more than dense products in a {@link step}: native attention, or launches on a GPU. */
  batches(cache: KvCache): boolean {
    return isNativeCache(cache) || isCudaCache(cache);
  }

  /**
   * Runs tokens of many sequences in one step, in turn with all other calls. Returns the logits `[wanted sequences, vocabulary]` of the last token of each sequence
   * with `logits: true`, in order; the buffer is the caller's. On error every cache holds what it held.
   * @throws INVALID_ARGUMENT, CANCELLED, OUT_OF_CAPACITY, DISPOSED
   */
  step(sequences: readonly BatchSequence[], options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Float32Array> {
    return this.#enqueue(async () => {
      const tokens = sequences.flatMap((sequence) => Array.from(sequence.tokens));
      checkTokens(tokens, this.config.vocabulary);
      const logitRows: number[] = [];
      let end = 0;
      for (const sequence of sequences) {
        end += sequence.tokens.length;
        if (sequence.logits) logitRows.push(end - 1);
      }
      const caches = sequences.map(({ cache }) => cache);
      const rows = sequences.map((sequence) => sequence.tokens.length);
      const embeddings = this.embeddings(tokens);
      const { width, vocabulary } = this.config;
      const logits = new Float32Array(logitRows.length * vocabulary);
      if (caches.every(isNativeCache)) {
        await this.native.step({
          sequences: caches.map((cache, index) => ({ cache, rows: rows[index]! })),
          embeddings,
          signal: options.signal,
          ...(logitRows.length === 0 ? {} : { logitRows: Uint32Array.from(logitRows), logits }),
        });
        return logits;
      }
      const hidden = await this.#layeredStep(caches.map((cache, index) => ({ cache, rows: rows[index]! })), embeddings, options);
      const wanted = new Float32Array(logitRows.length * width);
      for (const [index, row] of logitRows.entries()) wanted.set(hidden.subarray(row * width, (row + 1) * width), index * width);
      logits.set(await this.#head(wanted, logitRows.length, false));
      return logits;
    });
  }

  logits(hidden: Float32Array, rows: number): Promise<Float32Array> {
    return this.#enqueue(() => this.#head(hidden, rows, false));
  }

  logProbabilities(hidden: Float32Array, rows: number): Promise<Float32Array> {
    return this.#enqueue(() => this.#head(hidden, rows, true));
  }

  async dispose(): Promise<void> {
    await this.#last;
    this.native.dispose();
  }

  async #forward(tokens: ArrayLike<number>, cache: KvCache, options: ForwardOptions): Promise<Float32Array> {
    checkTokens(tokens, this.config.vocabulary);
    const { width } = this.config;
    const native = isNativeCache(cache) ? cache : undefined;
    const passTokens = cache.quantizeOpenPage ? tokens.length : PASS_TOKENS;
    const hidden = new Float32Array(tokens.length * width);
    // A native step brings its caches back by itself.
    const restore = native !== undefined && tokens.length <= passTokens ? undefined : cache.checkpoint();
    try {
      for (let start = 0; start < tokens.length; start += passTokens) {
        throwIfAborted(options.signal);
        const pass = Array.prototype.slice.call(tokens, start, start + passTokens) as number[];
        const out = hidden.subarray(start * width, (start + pass.length) * width);
        if (native !== undefined) await this.#nativePass(pass, native, out, options);
        else await runLayeredStep({ native: this.native, config: this.config, sequences: [{ cache, rows: pass.length }], embeddings: this.embeddings(pass), hidden: out }, options);
      }
    } catch (error) {
      restore?.();
      throw error;
    }
    return hidden;
  }

  async #nativePass(tokens: readonly number[], cache: NativeKvCache, hidden: Float32Array, options: ForwardOptions): Promise<void> {
    const embeddings = this.embeddings(tokens);
    await this.native.step({ sequences: [{ cache, rows: tokens.length }], embeddings, hidden, signal: options.signal });
    options.onLayer?.(this.config.layers);
  }

  /** Hidden states `[rows, width]` of a step in parts. On error every cache holds what it held. */
  async #layeredStep(sequences: readonly LayeredSequence[], embeddings: Float32Array, options: ForwardOptions): Promise<Float32Array> {
    const caches = sequences.map(({ cache }) => cache);
    check(new Set(caches).size === caches.length, "step: sequences", "a cache of its own each", "one cache twice");
    const restore = checkpointAll(caches);
    const hidden = new Float32Array(embeddings.length);
    try {
      await runLayeredStep({ native: this.native, config: this.config, sequences, embeddings, hidden }, options);
      return hidden;
    } catch (error) {
      restore();
      throw error;
    }
  }

  /** Embeddings `[tokens, width]`, read from the file in its own format. */
  embeddings(tokens: ArrayLike<number>): Float32Array {
    const embeddings = new Float32Array(tokens.length * this.config.width);
    this.#file.embeddingRows(tokens, embeddings);
    return embeddings;
  }

  async #head(hidden: Float32Array, rows: number, logSoftmax: boolean): Promise<Float32Array> {
    const { width, vocabulary } = this.config;
    if (this.#logits.length < rows * vocabulary) this.#logits = new Float32Array(rows * vocabulary);
    for (let first = 0; first < rows; first += LOGIT_ROWS) {
      const count = Math.min(LOGIT_ROWS, rows - first);
      const out = this.#logits.subarray(first * vocabulary, (first + count) * vocabulary);
      await this.native.logits(hidden.subarray(first * width, (first + count) * width), count, { logSoftmax, out });
    }
    return this.#logits.subarray(0, rows * vocabulary);
  }

  #enqueue<Result>(work: () => Promise<Result>): Promise<Result> {
    const run = this.#last.then(work);
    // The queue goes on after a failure; whoever called sees it.
    this.#last = run.then(
      () => undefined,
      () => undefined,
    );
    return run;
  }
}

function vectorParts(config: ModelConfig): VectorPart[] {
  return [
    "attention_norm",
    "ffn_norm",
    ...(config.attentionBias ? (["query_bias", "key_bias", "value_bias"] as const) : []),
    ...(config.queryKeyNorm ? (["query_norm", "key_norm"] as const) : []),
  ];
}
