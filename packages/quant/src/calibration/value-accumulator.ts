/** Streams windows of values into the statistics of one layer. */

import type { CacheShape, Matrix } from "@kvquant/spec";
import { applyHadamard, hadamardBlock } from "../numeric/hadamard.js";
import { meanInOrder, selectLargestDeviations } from "../numeric/largest-deviations.js";
import { squareRows } from "./key-accumulator.js";
import type { ValueStatistics } from "./layer-statistics.js";
import type { LayerWindow, Sensitivity } from "./layer-window.js";
import { addNormalisedRun, createNormalisedSums, findRange, normalisedHistogram } from "./normalised-histogram.js";
import type { NormalisedSums } from "./normalised-histogram.js";
import type { WindowRows } from "./window-rows.js";

/** Fractions of outliers a token that levels of values can be fitted for. */
export const VALUE_FRACTIONS: readonly number[] = [0, 0.005, 0.01];

/** Outliers of a token with `columns` values: `round(fraction * columns)`, never all. */
export function outlierCount(fraction: number, columns: number): number {
  return Math.min(Math.round(fraction * columns), columns - 1);
}

/** Statistics of a layer's values in the making. */
export interface ValueAccumulator {
  add(window: LayerWindow, rows: WindowRows): void;
  finish(): ValueStatistics;
}

/** Creates an empty accumulator. */
export function valueAccumulator(shape: CacheShape, sensitivity: Sensitivity): ValueAccumulator {
  const columns = shape.kvHeads * shape.headDim;
  const block = hadamardBlock(shape.headDim);
  const fractions = VALUE_FRACTIONS.map((fraction) => ({ fraction, sums: createNormalisedSums(), outliers: outlierCount(fraction, columns) }));
  const most = Math.max(...fractions.map(({ outliers }) => outliers));
  const sum = new Float64Array(columns);
  const sumOfSquares = new Float64Array(columns);
  let tokens = 0;

  return {
    add(window, rows) {
      const { counted } = rows;
      const values = gatherRows(window.v, counted);
      const weights = valueWeights(window, counted, shape, sensitivity);
      const largest = most > 0 ? largestOfRows(values, counted.length, columns, most) : new Uint32Array(0);
      for (const { sums, outliers } of fractions) addTokens(sums, values, weights, { rows: counted.length, columns, largest, most, outliers });
      applyHadamard(values, block);
      for (let row = 0; row < counted.length; row++) {
        const start = row * columns;
        for (let col = 0; col < columns; col++) {
          const value = values[start + col]!;
          sum[col]! += value;
          sumOfSquares[col]! += value * value;
        }
      }
      tokens += counted.length;
    },
    finish() {
      const rotatedMean = sum.map((total) => total / tokens);
      const rotatedDeviation = sumOfSquares.map((total, col) => Math.sqrt(Math.max(0, total / tokens - rotatedMean[col]! ** 2)));
      return { fractions: fractions.map(({ fraction, sums }) => ({ fraction, histogram: normalisedHistogram(sums) })), rotatedMean, rotatedDeviation };
    },
  };
}

/** Columns of the `most` largest deviations of each row, largest first `[rows, most]`. */
function largestOfRows(values: Float32Array, rows: number, columns: number, most: number): Uint32Array {
  const all = new Uint32Array(rows * most);
  const largest = new Uint32Array(most);
  const deviations = new Float32Array(most);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    selectLargestDeviations(values, { start, length: columns, center: meanInOrder(values, start, columns) }, largest, deviations, most);
    all.set(largest, row * most);
  }
  return all;
}

/** Adds every row, normalised by the range of what its first `outliers` outliers leave. */
function addTokens(sums: NormalisedSums, values: Float32Array, weights: Float32Array, options: { rows: number; columns: number; largest: Uint32Array; most: number; outliers: number }): void {
  const { rows, columns, largest, most, outliers } = options;
  const rest = new Float32Array(columns);
  const restWeights = new Float32Array(columns);
  const length = columns - outliers;
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    rest.set(values.subarray(start, start + columns));
    restWeights.set(weights.subarray(start, start + columns));
    // The last values take the places of the outliers, highest place first, so that none of those moved is one.
    const taken = largest.slice(row * most, row * most + outliers).sort().reverse();
    for (let index = 0; index < outliers; index++) {
      rest[taken[index]!] = rest[columns - 1 - index]!;
      restWeights[taken[index]!] = restWeights[columns - 1 - index]!;
    }
    const { low, high } = findRange(rest, 0, length);
    const scale = (high - low) / 2;
    if (scale > 0) addNormalisedRun(sums, rest, restWeights, { start: 0, length, zero: (high + low) / 2, perScale: 1 / scale, gain: scale * scale });
  }
}

function gatherRows(x: Matrix, rows: Uint32Array): Float32Array {
  const out = new Float32Array(rows.length * x.cols);
  for (let row = 0; row < rows.length; row++) out.set(x.data.subarray(rows[row]! * x.cols, (rows[row]! + 1) * x.cols), row * x.cols);
  return out;
}

/** Weights `[counted, kvHeads * headDim]`: g^2, or sum of p^2 of the value's head, or 1. */
function valueWeights(window: LayerWindow, counted: Uint32Array, shape: CacheShape, sensitivity: Sensitivity): Float32Array {
  const { kvHeads, headDim } = shape;
  const cols = kvHeads * headDim;
  const out = new Float32Array(counted.length * cols);
  if (sensitivity === "none") {
    out.fill(1);
  } else if (sensitivity === "fisher") {
    squareRows(window.valueGradients!.data, counted, cols, out);
  } else {
    const weights = window.attention!.valueWeights;
    for (let row = 0; row < counted.length; row++) {
      for (let head = 0; head < kvHeads; head++) {
        const start = row * cols + head * headDim;
        out.fill(weights[counted[row]! * kvHeads + head]!, start, start + headDim);
      }
    }
  }
  return out;
}
