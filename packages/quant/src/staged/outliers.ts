/** Stage: takes outliers out and stores what they exceed. */

import { check, KvquantError } from "@kvquant/spec";
import type { Axis, Matrix } from "@kvquant/spec";
import { keyRange } from "../calibration/key-range.js";
import { outlierCount } from "../calibration/value-accumulator.js";
import { corrupt } from "../corrupt.js";
import { meanInOrder, selectLargestDeviations } from "../numeric/largest-deviations.js";
import { packHalves, parameter, unpackHalves } from "./parameters.js";
import type { Parameters, Stage } from "./stage.js";

/** Options of `outliers`. */
export interface OutliersOptions {
  /** `channel`: values outside calibrated two-sided quantiles of their channel (keys). `token`: the largest deviations of each token. */
  readonly axis: Axis;
  /** Fraction of values taken out. */
  readonly fraction: number;
}

/**
 * Clamps outliers to the range of the other values and stores the differences as fp16, exactly as many as there are (no slots, so nothing
 * saturates): the dense part then codes the clamped value, and adding the difference gives the outlier back.
 * Side data: for each token u16 count, then for each entry u16 column, then for each an fp16 difference, little-endian.
 * Source: KVQuant section 3.4.
 */
export function outliers({ axis, fraction }: OutliersOptions): Stage {
  check(fraction > 0 && fraction < 0.5, "outliers: fraction", "a number above 0 and below 0.5", fraction);
  return {
    specVersion: 1,
    id: `kvquant/outliers:${axis}`,
    fit({ statistics, side, mixed }) {
      if (axis === "token") {
        const { kvHeads, headDim } = statistics.geometry;
        return { parameters: { count: Float32Array.of(outlierCount(fraction, kvHeads * headDim)) }, context: { outlierFraction: fraction } };
      }
      if (side !== "key" || mixed) throw new KvquantError("UNSUPPORTED", "outliers by channel: expected keys before any rotation, the only rows with quantiles of channels, got others; use axis token");
      const range = keyRange(statistics.key, fraction);
      return { parameters: { low: range.low, high: range.high }, context: { outlierFraction: fraction, range } };
    },
    forward(x, parameters) {
      check(x.cols <= 65536, "outliers: columns", "at most 65536", x.cols);
      const bounds = axis === "channel" ? { low: parameter(parameters, "low", x.cols), high: parameter(parameters, "high", x.cols) } : undefined;
      const found = bounds ? clampChannels(x, bounds) : clampTokens(x, countOf(parameters, x.cols));
      const differences = packHalves(Float32Array.from(found.differences));
      const indices = Uint16Array.from([...found.counts, ...found.columns]);
      const bytes = new Uint8Array(2 * indices.length + differences.length);
      indices.forEach((value, index) => {
        bytes[2 * index] = value & 255;
        bytes[2 * index + 1] = value >>> 8;
      });
      bytes.set(differences, 2 * indices.length);
      return { bytes };
    },
    inverse(x, side) {
      const read = (index: number): number => side[2 * index]! | (side[2 * index + 1]! << 8);
      if (side.length < 2 * x.rows) throw corrupt("outliers: side data", `at least ${2 * x.rows} bytes`, side.length);
      let total = 0;
      for (let row = 0; row < x.rows; row++) total += read(row);
      if (side.length !== 2 * x.rows + 4 * total) throw corrupt("outliers: side data", `${2 * x.rows + 4 * total} bytes`, side.length);
      const differences = unpackHalves(side, 2 * (x.rows + total), total);
      for (let row = 0, next = 0; row < x.rows; row++) {
        for (let entry = 0; entry < read(row); entry++, next++) {
          const column = read(x.rows + next);
          if (column >= x.cols) throw corrupt("outliers: column", `below ${x.cols}`, column);
          x.data[row * x.cols + column] = x.data[row * x.cols + column]! + differences[next]!;
        }
      }
    },
  };
}

function countOf(parameters: Parameters, columns: number): number {
  const [count] = parameter(parameters, "count", 1) as unknown as [number];
  if (!Number.isInteger(count) || count < 0 || count >= columns) throw corrupt("stage parameter count", `an integer from 0 to ${columns - 1}`, count);
  return count;
}

interface Found {
  readonly counts: number[];
  readonly columns: number[];
  readonly differences: number[];
}

function clampChannels(x: Matrix, { low, high }: { low: Float32Array; high: Float32Array }): Found {
  const found: Found = { counts: [], columns: [], differences: [] };
  for (let row = 0; row < x.rows; row++) {
    const before = found.columns.length;
    for (let col = 0; col < x.cols; col++) clampValue(x, row, col, { low: low[col]!, high: high[col]! }, found);
    found.counts.push(found.columns.length - before);
  }
  return found;
}

function clampTokens(x: Matrix, count: number): Found {
  const found: Found = { counts: [], columns: [], differences: [] };
  const largest = new Uint32Array(count);
  for (let row = 0; row < x.rows; row++) {
    const start = row * x.cols;
    selectLargestDeviations(x.data, { start, length: x.cols, center: meanInOrder(x.data, start, x.cols) }, largest, new Float32Array(count), count);
    const taken = new Set(largest);
    const range = { low: Number.POSITIVE_INFINITY, high: Number.NEGATIVE_INFINITY };
    for (let col = 0; col < x.cols; col++) {
      if (taken.has(col)) continue;
      range.low = Math.min(range.low, x.data[start + col]!);
      range.high = Math.max(range.high, x.data[start + col]!);
    }
    const before = found.columns.length;
    for (const col of largest.sort()) clampValue(x, row, col, range, found);
    found.counts.push(found.columns.length - before);
  }
  return found;
}

function clampValue(x: Matrix, row: number, col: number, range: { readonly low: number; readonly high: number }, found: Found): void {
  const value = x.data[row * x.cols + col]!;
  if (value >= range.low && value <= range.high) return;
  const clamped = value < range.low ? range.low : range.high;
  x.data[row * x.cols + col] = clamped;
  found.columns.push(col);
  found.differences.push(value - clamped);
}
