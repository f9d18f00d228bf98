/** Packed weights and whole native steps over them. */

import type { RopeConfig } from "@kvquant/rope";
import { ropeFrequencies } from "@kvquant/rope";
import { KvquantError, awaitNative, callNative, check, checkInteger, checkLength } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonModel, ModelSizes } from "./addon.js";
import { chooseIsa, isaNumber } from "./isa.js";
import type { Isa } from "./isa.js";
import { isNativeCache } from "./native-cache.js";
import type { NativeKvCache } from "./native-cache.js";
import type { NativeThreads } from "./native-threads.js";

/** Sizes of a model and its rotary embedding. */
export interface NativeModelShape extends ModelSizes {
  readonly rope: RopeConfig;
}

/** A weight matrix `[rows, cols]` as it lies in a file. */
export interface NativeMatrix {
  /** Type number of the ggml specification. */
  readonly type: number;
  readonly rows: number;
  readonly cols: number;
  readonly rowBytes: number;
  /** Row i of the file is row `target[i]` of the matrix; undefined when they are the same. */
  readonly target?: Uint32Array | undefined;
  /** The bytes of `count` rows from `first` on, valid until the next call. */
  read(first: number, count: number): Uint8Array;
}

/** A matrix of a layer, or (layer undefined) the head. */
export type MatrixPart = "query" | "key" | "value" | "attention_output" | "gate" | "up" | "down" | "output";

/** A vector of a layer, or (layer undefined) the output norm. */
export type VectorPart = "attention_norm" | "ffn_norm" | "query_bias" | "key_bias" | "value_bias" | "query_norm" | "key_norm" | "output_norm";

/** Rows of one sequence in a step. */
export interface StepSequence {
  readonly cache: NativeKvCache;
  readonly rows: number;
}

/** A step over a mixed batch: prefill chunks and decode tokens of several sequences. */
export interface Step {
  readonly sequences: readonly StepSequence[];
  /** `[rows, width]` embeddings, sequence after sequence. */
  readonly embeddings: Float32Array;
  /** Final normalised hidden states `[rows, width]`, when wanted. */
  readonly hidden?: Float32Array | undefined;
  /** Rows whose logits are wanted, into `logits` `[logitRows, vocabulary]`. */
  readonly logitRows?: Uint32Array | undefined;
  readonly logits?: Float32Array | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a model's weights take and run. */
export interface NativeModelInfo {
  readonly weightBytes: number;
  readonly workingBytes: number;
  /** Matrices of each code path. */
  readonly paths: Readonly<Record<string, number>>;
}

const READ_BYTES = 4 << 20;

/** A model in native memory. One call at a time; dispose it to free the weights. */
export class NativeModel implements Disposable {
  readonly shape: NativeModelShape;
  readonly isa: Isa;
  readonly threads: NativeThreads;
  readonly #handle: AddonModel;
  #disposed = false;

  /** An empty model; fill every part, then call `ready`. @throws UNSUPPORTED for rope scaling that depends on the length */
  constructor(shape: NativeModelShape, options: { readonly threads: NativeThreads; readonly isa?: Isa }) {
    const { rope } = shape;
    if (rope.scaling.type === "dynamic" || rope.scaling.type === "longrope") {
      throw new KvquantError("UNSUPPORTED", `native model: expected rope angles that do not depend on the length, got ${rope.scaling.type}; use the reference engine`);
    }
    this.shape = shape;
    this.threads = options.threads;
    this.isa = chooseIsa(options.isa);
    const { inverseFrequencies, attentionFactor } = ropeFrequencies(rope);
    this.#handle = callNative(() => new (loadAddon().Model)({ ...shape, isa: isaNumber(this.isa), rotaryDim: rope.rotaryDim, attentionFactor, frequencies: inverseFrequencies }));
  }

  /**
   * Packs a matrix, without loss. `exact` multiplies with fp32 activations instead of 8-bit ones.
   * @throws UNSUPPORTED for a type or number of columns without kernel; OUT_OF_CAPACITY
   */
  setMatrix(layer: number | undefined, part: MatrixPart, matrix: NativeMatrix, exact = false): void {
    const where = layer === undefined ? part : `layer ${layer} ${part}`;
    callNative(() => this.#handle.createMatrix(layer, part, matrix.type, matrix.rows, matrix.cols, exact), where);
    const step = Math.max(1, Math.floor(READ_BYTES / matrix.rowBytes));
    for (let first = 0; first < matrix.rows; first += step) {
      const count = Math.min(step, matrix.rows - first);
      const bytes = matrix.read(first, count);
      checkLength(`${where}: bytes`, bytes, count * matrix.rowBytes);
      callNative(() => this.#handle.fillMatrix(layer, part, bytes, count, first, matrix.target?.subarray(first, first + count)), where);
    }
  }

  setVector(layer: number | undefined, part: VectorPart, values: Float32Array): void {
    callNative(() => this.#handle.setVector(layer, part, values), part);
  }

  /** Ends the filling. @throws INVALID_ARGUMENT when a part is missing or of another size than the shape asks for */
  ready(): void {
    callNative(() => this.#handle.ready(this.threads.handle));
  }

  /**
   * Runs the batch; a row's result depends on its own sequence alone, bit for bit. On error every cache is as it was.
   * @throws INVALID_ARGUMENT, CANCELLED, OUT_OF_CAPACITY, DISPOSED
   */
  async step(step: Step): Promise<void> {
    this.#checkLive();
    const { width, vocabulary } = this.shape;
    let rows = 0;
    for (const { cache, rows: count } of step.sequences) {
      check(isNativeCache(cache), "step: cache", "a native cache", cache);
      checkInteger("step: rows", count, { minimum: 1 });
      rows += count;
    }
    checkInteger("step: sequences", step.sequences.length, { minimum: 1 });
    checkLength("step: embeddings", step.embeddings, rows * width);
    if (step.hidden !== undefined) checkLength("step: hidden", step.hidden, rows * width);
    if (step.logitRows !== undefined) checkLength("step: logits", step.logits ?? [], step.logitRows.length * vocabulary);
    await this.#run(step.signal, () =>
      this.#handle.step({
        x: step.embeddings,
        caches: step.sequences.map(({ cache }) => cache.handle),
        rows: Uint32Array.from(step.sequences, ({ rows: count }) => count),
        hidden: step.hidden,
        logitRows: step.logitRows,
        logits: step.logits,
      }),
    );
  }

  /** Starts a step in parts, for caches that are not native: `x` `[rows, width]`. */
  async begin(x: Float32Array, rows: number): Promise<void> {
    this.#checkLive();
    await awaitNative(() => this.#handle.begin(x, rows));
  }

  /** Queries, keys and values of a layer before RoPE. */
  async project(layer: number, out: { readonly query: Float32Array; readonly key: Float32Array; readonly value: Float32Array }): Promise<void> {
    this.#checkLive();
    await awaitNative(() => this.#handle.project(layer, out.query, out.key, out.value));
  }

  /** Output projection and feed-forward after attention `[rows, queryHeads * headDim]`. */
  async finishLayer(layer: number, attention: Float32Array): Promise<void> {
    this.#checkLive();
    await awaitNative(() => this.#handle.finishLayer(layer, attention));
  }

  /** Final normalised hidden states of the batch, `[rows, width]`. */
  async hidden(out: Float32Array): Promise<void> {
    this.#checkLive();
    await awaitNative(() => this.#handle.hidden(out));
  }

  /** Logits `[rows, vocabulary]` of hidden states `[rows, width]`, or their log-softmax. */
  async logits(hidden: Float32Array, rows: number, options: { readonly logSoftmax: boolean; readonly out: Float32Array }): Promise<void> {
    this.#checkLive();
    await awaitNative(() => this.#handle.logits(hidden, rows, options.logSoftmax, options.out));
  }

  info(): NativeModelInfo {
    return callNative(() => this.#handle.info());
  }

  dispose(): void {
    if (this.#disposed) return;
    callNative(() => this.#handle.dispose());
    this.#disposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async #run(signal: AbortSignal | undefined, work: () => Promise<void>): Promise<void> {
    if (signal?.aborted === true) throw new KvquantError("CANCELLED", "the run was cancelled");
    const cancel = (): void => this.#handle.cancel();
    signal?.addEventListener("abort", cancel);
    try {
      await awaitNative(work);
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  #checkLive(): void {
    if (this.#disposed) throw new KvquantError("DISPOSED", "native model: expected a live model, got one already disposed");
  }
}
