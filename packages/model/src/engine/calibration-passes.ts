/** The passes calibration needs: true gradients of the loss at keys and values, or attention's own statistics, layer by layer. */

import { createRope } from "@kvquant/rope";
import { check } from "@kvquant/spec";
import type { Matrix } from "@kvquant/spec";
import type { ModelConfig } from "../config/model-config.js";
import { createActivations, forEachTile, tileOf } from "./dense-layers.js";
import type { Activations } from "./dense-layers.js";
import { ExactAttention } from "./exact-attention.js";
import { buildFeedForwardGradientGraph, buildLossGradientGraph, buildProjectionGradientGraph } from "./gradient-graphs.js";
import { checkTokens } from "./check-tokens.js";
import { throwIfAborted } from "./throw-if-aborted.js";
import type { ReferenceEngine } from "./reference-engine.js";
import { createSession, floatTensor } from "./session.js";
import type { Session } from "./session.js";
import type { LayerWeights } from "./weights.js";

/** What one layer shows of a window, `[tokens, kvHeads * headDim]`; keys before RoPE. */
export interface LayerGradients {
  readonly layer: number;
  readonly k: Matrix;
  readonly v: Matrix;
  /** Gradient of the cross-entropy SUMMED over the window's scored tokens. */
  readonly keyGradients: Matrix;
  readonly valueGradients: Matrix;
}

/** What one layer shows in a forward pass alone. */
export interface LayerAttention {
  readonly layer: number;
  readonly k: Matrix;
  readonly v: Matrix;
  /** Queries before RoPE `[tokens, queryHeads * headDim]`. */
  readonly queries: Matrix;
  /** `[tokens * kvHeads]`: sum of p - p^2 over the queries and heads of the group. */
  readonly keyWeights: Float32Array;
  /** `[tokens * kvHeads]`: sum of p^2. */
  readonly valueWeights: Float32Array;
}

/** Options of a pass. */
export interface PassOptions<Event> {
  /** Called for every layer; the matrices are borrowed for the call. */
  readonly onLayer: (event: Event) => void;
  readonly signal?: AbortSignal | undefined;
  /** Layers done of the forward and backward pass together. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Rows of one head product. */
const HEAD_ROWS = 128;

/** Runs calibration passes on a reference engine. */
export class CalibrationPasses {
  readonly #engine: ReferenceEngine;
  readonly #attention: ExactAttention;
  readonly #feedForwardGradient: Session;
  readonly #projectionGradient: Session;
  readonly #lossGradient: Session;

  private constructor(engine: ReferenceEngine, attention: ExactAttention, sessions: readonly [Session, Session, Session]) {
    this.#engine = engine;
    this.#attention = attention;
    [this.#feedForwardGradient, this.#projectionGradient, this.#lossGradient] = sessions;
  }

  static async create(engine: ReferenceEngine): Promise<CalibrationPasses> {
    const { config, threads } = engine;
    return new CalibrationPasses(engine, await ExactAttention.create(config, createRope(config.rope), threads), [
      await createSession(buildFeedForwardGradientGraph(config), threads),
      await createSession(buildProjectionGradientGraph(config), threads),
      await createSession(buildLossGradientGraph(config), threads),
    ]);
  }

  /**
   * One forward pass over a window with keys and values in fp32, without a cache; `onLayer` in order 0 .. layers - 1.
   * Returns the final normalised hidden states `[tokens, width]`.
   */
  async captureAttention(tokens: ArrayLike<number>, options: PassOptions<LayerAttention>): Promise<Float32Array> {
    const { config } = this.#engine;
    const keyColumns = config.kvHeads * config.headDim;
    const last = await this.#forward(tokens, options, (layer, activations, sums) => {
      const rows = tokens.length;
      options.onLayer({
        layer,
        k: { data: activations.key, rows, cols: keyColumns },
        v: { data: activations.value, rows, cols: keyColumns },
        queries: { data: activations.query, rows, cols: config.queryHeads * config.headDim },
        keyWeights: sums.spread,
        valueWeights: sums.square,
      });
      options.onProgress?.(layer + 1, config.layers);
    });
    return this.#engine.dense.finalNorm(last, tokens.length);
  }

  /**
   * Forward and backward pass over a window; `onLayer` in order layers - 1 .. 0. Only layer inputs and attention outputs
   * are kept from the forward pass. Returns the summed loss in nats and the number of scored tokens (all after the first).
   */
  async gradients(tokens: ArrayLike<number>, options: PassOptions<LayerGradients>): Promise<{ loss: number; scored: number }> {
    check(tokens.length > 1, "gradients", "at least two tokens", tokens.length);
    const { config } = this.#engine;
    const rows = tokens.length;
    const keyColumns = config.kvHeads * config.headDim;
    const inputs: Float32Array[] = [];
    const outputs: Float32Array[] = [];
    const last = await this.#forward(tokens, options, (layer, activations) => {
      outputs.push(activations.attention.slice());
      options.onProgress?.(layer + 1, 2 * config.layers);
    }, (x) => inputs.push(x.slice()));
    const { dX, loss } = await this.#lossGradients(tokens, last);
    let dY = dX;
    for (let layer = config.layers - 1; layer >= 0; layer--) {
      throwIfAborted(options.signal);
      const x = inputs.pop()!;
      const attention = outputs.pop()!;
      const activations: Activations = { ...createActivations(config, rows), x, attention };
      await this.#engine.dense.project(layer, rows, activations);
      const through = await this.#feedForwardGradients(layer, activations, dY);
      const d = await this.#attention.gradients({ ...activations, rows }, attention, through.dAttention);
      options.onLayer({
        layer,
        k: { data: activations.key, rows, cols: keyColumns },
        v: { data: activations.value, rows, cols: keyColumns },
        keyGradients: { data: d.key, rows, cols: keyColumns },
        valueGradients: { data: d.value, rows, cols: keyColumns },
      });
      if (layer > 0) dY = await this.#projectionGradients(layer, x, d, through.dX);
      options.onProgress?.(2 * config.layers - layer, 2 * config.layers);
    }
    return { loss, scored: rows - 1 };
  }

  async dispose(): Promise<void> {
    await Promise.all([
      this.#attention.dispose(),
      this.#feedForwardGradient.dispose(),
      this.#projectionGradient.dispose(),
      this.#lossGradient.dispose(),
    ]);
  }

  /** Exact forward over a window from position 0; returns the last layer's output `[rows, width]`. */
  async #forward(
    tokens: ArrayLike<number>,
    options: { readonly signal?: AbortSignal | undefined },
    onLayer: (layer: number, activations: Activations, sums: { spread: Float32Array; square: Float32Array }) => void,
    onInput?: (x: Float32Array) => void,
  ): Promise<Float32Array> {
    const { config, dense, file } = this.#engine;
    checkTokens(tokens, this.#engine.config.vocabulary);
    const rows = tokens.length;
    const activations = createActivations(config, rows);
    file.embeddingRows(tokens, activations.x);
    for (let layer = 0; layer < config.layers; layer++) {
      throwIfAborted(options.signal);
      onInput?.(activations.x);
      await dense.project(layer, rows, activations);
      const sums = await this.#attention.attend({ ...activations, rows }, activations.attention);
      onLayer(layer, activations, sums);
      await dense.feedForward(layer, rows, activations);
    }
    return activations.x;
  }

  async #lossGradients(tokens: ArrayLike<number>, x: Float32Array): Promise<{ dX: Float32Array; loss: number }> {
    const { config, weights } = this.#engine;
    const { width, vocabulary } = config;
    const rows = tokens.length;
    const head = weights.head.data as Float32Array;
    const dX = new Float32Array(rows * width);
    const logProbabilities = new Float32Array(HEAD_ROWS * vocabulary);
    let loss = 0;
    for (let start = 0; start < rows; start += HEAD_ROWS) {
      const count = Math.min(HEAD_ROWS, rows - start);
      const targetRows = new Float32Array(count * width);
      const scored = new Float32Array(count);
      for (let row = 0; row < count && start + row + 1 < rows; row++) {
        const target = tokens[start + row + 1]!;
        targetRows.set(head.subarray(target * width, (target + 1) * width), row * width);
        scored[row] = 1;
      }
      await this.#lossGradient.run(
        {
          x: tileOf(x, width, start, count),
          targetRows: tileOf(targetRows, width, 0, count),
          scored: floatTensor(scored, [count, 1]),
          outputNorm: weights.outputNorm,
          head: weights.head,
        },
        { dX: tileOf(dX, width, start, count), logProbabilities: tileOf(logProbabilities, vocabulary, 0, count) },
      );
      for (let row = 0; row < count && start + row + 1 < rows; row++) loss -= logProbabilities[row * vocabulary + tokens[start + row + 1]!]!;
    }
    return { dX, loss };
  }

  async #feedForwardGradients(layer: number, activations: Activations, dY: Float32Array): Promise<{ dX: Float32Array; dAttention: Float32Array }> {
    const { config, weights } = this.#engine;
    const { width } = config;
    const columns = config.queryHeads * config.headDim;
    const rows = dY.length / width;
    const dX = new Float32Array(rows * width);
    const dAttention = new Float32Array(rows * columns);
    await forEachTile(rows, (start, count) =>
      this.#feedForwardGradient.run(
        {
          x: tileOf(activations.x, width, start, count),
          attention: tileOf(activations.attention, columns, start, count),
          dY: tileOf(dY, width, start, count),
          ...weights.layers[layer]!.feedForward,
        },
        { dX: tileOf(dX, width, start, count), dAttention: tileOf(dAttention, columns, start, count) },
      ),
    );
    return { dX, dAttention };
  }

  async #projectionGradients(
    layer: number,
    x: Float32Array,
    d: { query: Float32Array; key: Float32Array; value: Float32Array },
    dResidual: Float32Array,
  ): Promise<Float32Array> {
    const { config, weights } = this.#engine;
    const { width, headDim } = config;
    const rows = dResidual.length / width;
    const parameters = projectionGradientInputs(config, weights.layers[layer]!.projection);
    const dX = new Float32Array(rows * width);
    await forEachTile(rows, (start, count) =>
      this.#projectionGradient.run(
        {
          x: tileOf(x, width, start, count),
          dQuery: tileOf(d.query, config.queryHeads * headDim, start, count),
          dKey: tileOf(d.key, config.kvHeads * headDim, start, count),
          dValue: tileOf(d.value, config.kvHeads * headDim, start, count),
          dResidual: tileOf(dResidual, width, start, count),
          ...parameters,
        },
        { dX: tileOf(dX, width, start, count) },
      ),
    );
    return dX;
  }
}

/** The weights that the projection's gradient graph takes: biases only where head norms need the projected values again. */
function projectionGradientInputs(config: ModelConfig, projection: LayerWeights["projection"]): LayerWeights["projection"] {
  const recomputed = config.queryKeyNorm;
  return Object.fromEntries(Object.entries(projection).filter(([name]) => !name.endsWith("Bias") || (recomputed && name !== "valueBias")));
}
