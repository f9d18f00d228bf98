/** Streams windows of keys into the statistics of one layer. */

import { applyRope } from "@kvquant/rope";
import type { Rope, RopeConfig } from "@kvquant/rope";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { CacheShape, Matrix } from "@kvquant/spec";
import { addToChannel, createChannelHistograms } from "./channel-histograms.js";
import { addOuterProducts, mirrorUpper, rotateGram } from "./gram-matrix.js";
import type { KeyStatistics } from "./layer-statistics.js";
import type { LayerWindow, Sensitivity } from "./layer-window.js";
import { addNormalisedRun, createNormalisedSums, findRange, normalisedHistogram } from "./normalised-histogram.js";
import type { NormalisedSums } from "./normalised-histogram.js";
import { transposeRows } from "./transpose-rows.js";
import type { WindowRows } from "./window-rows.js";

/** Statistics of a layer's keys in the making. */
export interface KeyAccumulator {
  add(window: LayerWindow, rows: WindowRows): void;
  /** The statistics; they take the accumulator's memory over. */
  finish(): KeyStatistics;
}

/** What a key accumulator needs to know. */
export interface KeyAccumulatorOptions {
  readonly shape: CacheShape;
  readonly rope: Rope;
  readonly sensitivity: Sensitivity;
}

/** Creates an empty accumulator. */
export function keyAccumulator({ shape, rope, sensitivity }: KeyAccumulatorOptions): KeyAccumulator {
  const { kvHeads, headDim } = shape;
  const columns = kvHeads * headDim;
  const channels = createChannelHistograms(columns);
  const minimum = new Float32Array(columns).fill(Number.POSITIVE_INFINITY);
  const maximum = new Float32Array(columns).fill(Number.NEGATIVE_INFINITY);
  const rotatedMinimum = minimum.slice();
  const rotatedMaximum = maximum.slice();
  const pages = createNormalisedSums();
  const gram = sensitivity === "none" ? undefined : new Float64Array(kvHeads * headDim * headDim);
  let longest = 0;

  return {
    add(window, rows) {
      const tokens = window.k.rows;
      longest = Math.max(longest, tokens);
      const count = rows.counted.length;
      if (count === 0) return;
      const keys = transposeRows(window.k, rows.counted, 0);
      const weights = transposeRows(keyWeights(window, rows, { shape, sensitivity, rotaryDim: rope.config.rotaryDim }), undefined, 1);
      for (let channel = 0; channel < columns; channel++) {
        const start = channel * count;
        addToChannel(channels, channel, keys, weights, { start, length: count });
        const { low, high } = findRange(keys, start, count);
        minimum[channel] = Math.min(minimum[channel]!, low);
        maximum[channel] = Math.max(maximum[channel]!, high);
        addPages(pages, keys, weights, { start, pages: rows.pages });
      }
      addRotatedRange(window.k, rows, { rope, shape }, rotatedMinimum, rotatedMaximum);
      if (gram !== undefined) addGram(gram, window, rows, { shape, sensitivity });
    },
    finish() {
      const feedback = gram === undefined ? undefined : finishGram(gram, headDim, sensitivity === "attention" ? rope.config : undefined, longest);
      return { minimum, maximum, rotatedMinimum, rotatedMaximum, channels, pages: normalisedHistogram(pages), ...(feedback && { feedback }) };
    },
  };
}

/** Weights of the counted rows `[counted, kvHeads * headDim]`: g^2, or (sum of p - p^2) * mean q^2 of the channel's RoPE pair, or 1. */
function keyWeights(window: LayerWindow, rows: WindowRows, context: { shape: CacheShape; sensitivity: Sensitivity; rotaryDim: number }): Matrix {
  const { shape, sensitivity, rotaryDim } = context;
  const { kvHeads, headDim } = shape;
  const cols = kvHeads * headDim;
  const { counted } = rows;
  const data = new Float32Array(counted.length * cols);
  const matrix = { data, rows: counted.length, cols };
  if (sensitivity === "none") {
    data.fill(1);
  } else if (sensitivity === "fisher") {
    squareRows(window.keyGradients!.data, counted, cols, data);
  } else {
    const { keyWeights: probabilities, queries } = window.attention!;
    const energy = queryEnergy(queries, rotaryDim, shape, rows);
    for (let row = 0; row < counted.length; row++) {
      for (let head = 0; head < kvHeads; head++) {
        const probability = probabilities[counted[row]! * kvHeads + head]!;
        for (let i = 0; i < headDim; i++) data[row * cols + head * headDim + i] = probability * energy[head * headDim + i]!;
      }
    }
  }
  return matrix;
}

/** Squares of the given rows of `x`, as rows of `out`. */
export function squareRows(x: Float32Array, rows: Uint32Array, cols: number, out: Float32Array): void {
  for (let row = 0; row < rows.length; row++) {
    const from = rows[row]! * cols;
    const to = row * cols;
    for (let col = 0; col < cols; col++) out[to + col] = x[from + col]! * x[from + col]!;
  }
}

/** Mean q^2 over the counted queries and the heads of each group, averaged within RoPE pairs `[kvHeads * headDim]`. */
function queryEnergy(queries: Matrix, rotaryDim: number, shape: CacheShape, rows: WindowRows): Float64Array {
  const { kvHeads, queryHeads, headDim } = shape;
  const group = queryHeads / kvHeads;
  const energy = new Float64Array(kvHeads * headDim);
  for (const row of rows.counted) {
    for (let head = 0; head < queryHeads; head++) {
      const to = Math.floor(head / group) * headDim;
      const from = row * queries.cols + head * headDim;
      for (let i = 0; i < headDim; i++) energy[to + i]! += queries.data[from + i]! ** 2;
    }
  }
  const scale = 1 / (rows.counted.length * group);
  for (let index = 0; index < energy.length; index++) energy[index]! *= scale;
  const pairs = rotaryDim / 2;
  for (let head = 0; head < kvHeads; head++) {
    for (let pair = 0; pair < pairs; pair++) {
      const first = head * headDim + pair;
      const mean = (energy[first]! + energy[first + pairs]!) / 2;
      energy[first] = mean;
      energy[first + pairs] = mean;
    }
  }
  return energy;
}

/** Adds one channel's values, normalised by their page's own range. */
function addPages(sums: NormalisedSums, values: Float32Array, weights: Float32Array, range: { start: number; pages: number }): void {
  for (let page = 0; page < range.pages; page++) {
    const start = range.start + page * PAGE_TOKENS;
    const { low, high } = findRange(values, start, PAGE_TOKENS);
    const scale = (high - low) / 2;
    if (scale > 0) addNormalisedRun(sums, values, weights, { start, length: PAGE_TOKENS, zero: (high + low) / 2, perScale: 1 / scale, gain: scale * scale });
  }
}

function addRotatedRange(k: Matrix, rows: WindowRows, context: { rope: Rope; shape: CacheShape }, minimum: Float32Array, maximum: Float32Array): void {
  const { rope, shape } = context;
  const rotated = applyRope(k.data, rope.tables(0, k.rows, k.rows), {
    rows: k.rows,
    heads: shape.kvHeads,
    headDim: shape.headDim,
    rotaryDim: rope.config.rotaryDim,
    pairing: "half",
    out: new Float32Array(k.data.length),
  });
  for (const row of rows.counted) {
    const from = row * k.cols;
    for (let col = 0; col < k.cols; col++) {
      const value = rotated[from + col]!;
      if (value < minimum[col]!) minimum[col] = value;
      if (value > maximum[col]!) maximum[col] = value;
    }
  }
}

/** Adds g g' of the keys' gradients, or q q' of the group's queries before RoPE, to the upper triangles of `gram`. */
function addGram(gram: Float64Array, window: LayerWindow, rows: WindowRows, context: { shape: CacheShape; sensitivity: Sensitivity }): void {
  const { kvHeads, queryHeads, headDim } = context.shape;
  const source = context.sensitivity === "fisher" ? window.keyGradients! : window.attention!.queries;
  const heads = context.sensitivity === "fisher" ? kvHeads : queryHeads;
  const group = heads / kvHeads;
  const { counted } = rows;
  let start = 0;
  while (start < counted.length) {
    let end = start + 1;
    while (end < counted.length && counted[end] === counted[end - 1]! + 1) end++;
    const block = { cols: source.cols, size: headDim, firstRow: counted[start]!, endRow: counted[end - 1]! + 1 };
    for (let head = 0; head < heads; head++) {
      addOuterProducts(gram, Math.floor(head / group) * headDim * headDim, source.data, { ...block, column: head * headDim });
    }
    start = end;
  }
}

function finishGram(gram: Float64Array, headDim: number, rope: RopeConfig | undefined, longest: number): Float64Array {
  mirrorUpper(gram, headDim);
  return rope === undefined ? gram : rotateGram(gram, rope, longest);
}
