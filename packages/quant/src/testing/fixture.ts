/** Synthetic calibration data: reproducible, anisotropic, with outliers, sinks and channels of one sign. */

import type { RopeConfig } from "@kvquant/rope";
import type { CacheShape, Matrix } from "@kvquant/spec";
import type { CalibrationStatistics } from "../calibration/layer-statistics.js";
import type { LayerWindow, Sensitivity } from "../calibration/layer-window.js";
import { createStatisticsCollector } from "../calibration/statistics-collector.js";

/** Uniform numbers in [0, 1) from a 32-bit seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Standard normal numbers from a seed (Box and Muller). */
export function normalNumbers(seed: number): () => number {
  const random = randomNumbers(seed);
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** A matrix `[rows, cols]` filled by `value(row, col)`. */
export function makeMatrix(rows: number, cols: number, value: (row: number, col: number) => number): Matrix {
  const data = new Float32Array(rows * cols);
  for (let row = 0; row < rows; row++) for (let col = 0; col < cols; col++) data[row * cols + col] = value(row, col);
  return { data, rows, cols };
}

/** What `makeWindow` draws. */
export interface WindowOptions {
  readonly shape: CacheShape;
  readonly tokens: number;
  readonly seed: number;
}

/**
 * One window of one layer. Key channels have their own spread and mean (one in eight far from 0), 1% of the values are five times larger; the first token is 20
 * times larger (a sink). Gradients of a head lie near a few directions; attention weights are positive.
 */
export function makeWindow({ shape, tokens, seed }: WindowOptions): Required<LayerWindow> {
  const { kvHeads, queryHeads, headDim } = shape;
  const columns = kvHeads * headDim;
  const layout = randomNumbers(17);
  const spread = Float64Array.from({ length: columns }, () => 0.2 + 2 * layout() ** 3);
  const mean = Float64Array.from({ length: columns }, (_, col) => (col % 8 === 3 ? 6 * spread[col]! : layout() - 0.5));
  const directions = Array.from({ length: 6 }, () => Float64Array.from({ length: columns }, () => layout() - 0.5));
  const normal = normalNumbers(seed);
  const random = randomNumbers(seed + 1000);
  const draw = (row: number, col: number): number => (mean[col]! + spread[col]! * normal() * (random() < 0.01 ? 5 : 1)) * (row === 0 ? 20 : 1);
  const gradients = (): Matrix => {
    const parts = Array.from({ length: tokens }, () => directions.map(() => normal()));
    return makeMatrix(tokens, columns, (row, col) => 1e-3 * (directions.reduce((sum, direction, index) => sum + direction[col]! * parts[row]![index]!, 0) + 0.05 * normal()));
  };
  return {
    k: makeMatrix(tokens, columns, draw),
    v: makeMatrix(tokens, columns, (row, col) => (0.3 * mean[col]! + normal() * (random() < 0.01 ? 4 : 1)) * (row === 0 ? 0.01 : 1)),
    keyGradients: gradients(),
    valueGradients: gradients(),
    attention: {
      keyWeights: Float32Array.from({ length: tokens * kvHeads }, random),
      valueWeights: Float32Array.from({ length: tokens * kvHeads }, random),
      queries: makeMatrix(tokens, queryHeads * headDim, (_, col) => (1 + (col % 5)) * normal()),
    },
  };
}

/** Options of `makeStatistics`; defaults: one layer of 3 KV heads x 64 with 9 query heads, 2 windows of 1,025 tokens, one sink, `fisher`. */
export interface StatisticsOptions {
  readonly shape?: CacheShape;
  readonly rotaryDim?: number;
  readonly sensitivity?: Sensitivity;
  readonly windows?: number;
  readonly tokens?: number;
}

/** Statistics of synthetic windows. */
export function makeStatistics(options: StatisticsOptions = {}): CalibrationStatistics {
  const { shape = { layers: 1, queryHeads: 9, kvHeads: 3, headDim: 64 }, sensitivity = "fisher", windows = 2, tokens = 1025 } = options;
  const rope: RopeConfig = { headDim: shape.headDim, rotaryDim: options.rotaryDim ?? shape.headDim, base: 10_000, scaling: { type: "none" } };
  const collector = createStatisticsCollector({ shape, rope, sinkTokens: 1, sensitivity });
  for (let window = 0; window < windows; window++) {
    for (let layer = 0; layer < shape.layers; layer++) collector.add(layer, makeWindow({ shape, tokens, seed: 100 * window + layer + 1 }));
  }
  return collector.finish();
}

/** A page of keys and values of the same kind as the calibration data, but not from it. */
export function makePage(shape: CacheShape, tokens = 64, seed = 999): { readonly k: Matrix; readonly v: Matrix } {
  const { k, v } = makeWindow({ shape, tokens: tokens + 1, seed });
  const drop = ({ data, rows, cols }: Matrix): Matrix => ({ data: data.slice(cols), rows: rows - 1, cols });
  return { k: drop(k), v: drop(v) };
}
