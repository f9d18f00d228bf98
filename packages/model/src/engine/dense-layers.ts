/** The dense part of a transformer over many rows, in tiles that stay in the processor's caches. */

import type { ModelConfig } from "../config/model-config.js";
import { buildFeedForwardGraph, buildFinalNormGraph, buildProjectionGraph } from "./layer-graphs.js";
import { createSession, floatTensor } from "./session.js";
import type { Session } from "./session.js";
import type { Weights } from "./weights.js";

/** Rows of one run: a tile of activations stays in the processor's caches (a product [256, 576] x [576, 3072] ran at 160 GFLOP/s, with 2,048 rows at 75). */
const TILE_ROWS = 256;

/** Activations of one layer, `[rows, ...]`, kept by the caller and reused from layer to layer. */
export interface Activations {
  /** `[rows, width]` */
  readonly x: Float32Array;
  /** `[rows, queryHeads * headDim]` */
  readonly query: Float32Array;
  /** `[rows, kvHeads * headDim]` */
  readonly key: Float32Array;
  /** `[rows, kvHeads * headDim]` */
  readonly value: Float32Array;
  /** `[rows, queryHeads * headDim]` */
  readonly attention: Float32Array;
}

/** Allocates the activations of `rows` tokens. */
export function createActivations(config: ModelConfig, rows: number): Activations {
  return {
    x: new Float32Array(rows * config.width),
    query: new Float32Array(rows * config.queryHeads * config.headDim),
    key: new Float32Array(rows * config.kvHeads * config.headDim),
    value: new Float32Array(rows * config.kvHeads * config.headDim),
    attention: new Float32Array(rows * config.queryHeads * config.headDim),
  };
}

/** Calls `run(start, count)` for each tile of the rows. */
export async function forEachTile(rows: number, run: (start: number, count: number) => Promise<void>): Promise<void> {
  for (let start = 0; start < rows; start += TILE_ROWS) await run(start, Math.min(TILE_ROWS, rows - start));
}

/** Rows `start .. start + count` of a row-major array as a tensor over the same memory. */
export function tileOf(data: Float32Array, columns: number, start: number, count: number) {
  return floatTensor(data.subarray(start * columns, (start + count) * columns), [count, columns]);
}

/** Projections, feed-forward parts and the final norm of a model. */
export class DenseLayers {
  readonly #config: ModelConfig;
  readonly #weights: Weights;
  readonly #projection: Session;
  readonly #feedForward: Session;
  readonly #finalNorm: Session;

  private constructor(config: ModelConfig, weights: Weights, sessions: readonly [Session, Session, Session]) {
    this.#config = config;
    this.#weights = weights;
    [this.#projection, this.#feedForward, this.#finalNorm] = sessions;
  }

  static async create(config: ModelConfig, weights: Weights, threads?: number): Promise<DenseLayers> {
    return new DenseLayers(config, weights, [
      await createSession(buildProjectionGraph(config), threads),
      await createSession(buildFeedForwardGraph(config), threads),
      await createSession(buildFinalNormGraph(config), threads),
    ]);
  }

  /** x -> query, key, value of one layer. */
  async project(layer: number, rows: number, activations: Omit<Activations, "attention">): Promise<void> {
    const { width, queryHeads, kvHeads, headDim } = this.#config;
    await forEachTile(rows, (start, count) =>
      this.#projection.run(
        { x: tileOf(activations.x, width, start, count), ...this.#weights.layers[layer]!.projection },
        {
          queries: tileOf(activations.query, queryHeads * headDim, start, count),
          keys: tileOf(activations.key, kvHeads * headDim, start, count),
          values: tileOf(activations.value, kvHeads * headDim, start, count),
        },
      ),
    );
  }

  /** x and attention -> x of the next layer, in place. */
  async feedForward(layer: number, rows: number, activations: Pick<Activations, "x" | "attention">): Promise<void> {
    const { width, queryHeads, headDim } = this.#config;
    const y = new Float32Array(Math.min(rows, TILE_ROWS) * width);
    await forEachTile(rows, async (start, count) => {
      const inputs = {
        x: tileOf(activations.x, width, start, count),
        attention: tileOf(activations.attention, queryHeads * headDim, start, count),
        ...this.#weights.layers[layer]!.feedForward,
      };
      await this.#feedForward.run(inputs, { y: tileOf(y, width, 0, count) });
      activations.x.set(y.subarray(0, count * width), start * width);
    });
  }

  /** x `[rows, width]` -> hidden `[rows, width]`. */
  async finalNorm(x: Float32Array, rows: number): Promise<Float32Array> {
    const { width } = this.#config;
    const hidden = new Float32Array(rows * width);
    await forEachTile(rows, (start, count) =>
      this.#finalNorm.run(
        { x: tileOf(x, width, start, count), outputNorm: this.#weights.outputNorm },
        { hidden: tileOf(hidden, width, start, count) },
      ),
    );
    return hidden;
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#projection.dispose(), this.#feedForward.dispose(), this.#finalNorm.dispose()]);
  }
}
