import { floatFromHalf, halfFromFloat } from "@kvquant/packing";
import type { Matrix, QuantizerArtifact } from "@kvquant/spec";
import { describe, expect, it } from "vitest";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import { makeMatrix, makeStatistics, makeWindow, normalNumbers } from "../testing/index.js";
import { channelKeys } from "./channel-keys.js";
import { FEEDBACK_DAMPING, fitFeedback } from "./feedback.js";

/** Inverse by Gauss-Jordan elimination with pivoting: shares nothing with the Cholesky route. */
function invert(matrix: readonly number[][]): number[][] {
  const size = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...Array.from({ length: size }, (_, j) => (i === j ? 1 : 0))]);
  for (let col = 0; col < size; col++) {
    let pivot = col;
    for (let row = col + 1; row < size; row++) if (Math.abs(rows[row]![col]!) > Math.abs(rows[pivot]![col]!)) pivot = row;
    [rows[col], rows[pivot]] = [rows[pivot]!, rows[col]!];
    const scale = rows[col]![col]!;
    rows[col] = rows[col]!.map((value) => value / scale);
    for (let row = 0; row < size; row++) {
      if (row === col) continue;
      const factor = rows[row]![col]!;
      rows[row] = rows[row]!.map((value, j) => value - factor * rows[col]![j]!);
    }
  }
  return rows.map((row) => row.slice(size));
}

/** H = sum of g g' of random gradients that lie near a few directions. */
function anisotropic(size: number, seed: number): Float64Array {
  const normal = normalNumbers(seed);
  const directions = Array.from({ length: 4 }, () => Array.from({ length: size }, normal));
  const matrix = new Float64Array(size * size);
  for (let sample = 0; sample < 200; sample++) {
    const parts = directions.map(() => normal());
    const g = Array.from({ length: size }, (_, i) => directions.reduce((sum, direction, d) => sum + direction[i]! * parts[d]!, 0.05 * normal()));
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) matrix[i * size + j]! += g[i]! * g[j]!;
  }
  return matrix;
}

function dampedRows(matrix: Float64Array, size: number): number[][] {
  const mean = Array.from({ length: size }, (_, i) => matrix[i * size + i]!).reduce((a, b) => a + b) / size;
  return Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => matrix[i * size + j]! + (i === j ? FEEDBACK_DAMPING * mean : 0)));
}

/** Textbook OBQ for one token: after each channel the inverse of the block that is left is computed afresh. fp32, ratios as halves, as the format says. */
function optimalBrainQuantize(x: Float32Array, damped: number[][], order: number[], round: (value: number, channel: number) => number): Float32Array {
  const values = x.slice();
  const decoded = new Float32Array(x.length);
  let left = order;
  while (left.length > 0) {
    const inverse = invert(left.map((i) => left.map((j) => damped[i]![j]!)));
    const [channel, ...rest] = left as [number, ...number[]];
    decoded[channel] = round(values[channel]!, channel);
    const error = Math.fround(values[channel]! - decoded[channel]!);
    rest.forEach((z, index) => {
      const ratio = floatFromHalf(halfFromFloat(inverse[index + 1]![0]! / inverse[0]![0]!));
      values[z] = values[z]! - Math.fround(error * ratio);
    });
    left = rest;
  }
  return decoded;
}

function fitted(sensitivity: "fisher" | "attention" = "fisher"): { statistics: LayerStatistics; artifact: QuantizerArtifact } {
  const shape = { layers: 1, queryHeads: 2, kvHeads: 2, headDim: 16 };
  const statistics = makeStatistics({ shape, sensitivity }).layers[0]!;
  return { statistics, artifact: channelKeys({ bits: 3, feedback: true }).fit(statistics) };
}

describe("feedback rounding", () => {
  it("gives exactly the values of textbook OBQ, which inverts the remaining block at every step", () => {
    for (const sensitivity of ["fisher", "attention"] as const) {
      const { statistics, artifact } = fitted(sensitivity);
      const shape = { layers: 1, queryHeads: 2, kvHeads: 2, headDim: 16 };
      const window = makeWindow({ shape, tokens: 65, seed: 77 });
      const page: Matrix = { data: window.k.data.slice(32), rows: 64, cols: 32 };
      const codec = channelKeys({ bits: 3, feedback: true }).open(artifact);
      const out = makeMatrix(64, 32, () => Number.NaN);
      codec.decode(codec.encode(page), out);
      const { levels, midpoints, scale, zero } = artifact.arrays as Record<string, Float32Array>;
      for (let head = 0; head < 2; head++) {
        const matrix = statistics.key.feedback!.slice(head * 256, (head + 1) * 256);
        const order = Array.from({ length: 16 }, (_, i) => i).sort((a, b) => matrix[b * 17]! - matrix[a * 17]! || a - b);
        const damped = dampedRows(matrix, 16);
        for (let token = 0; token < 64; token += 5) {
          const x = page.data.slice(token * 32 + head * 16, token * 32 + head * 16 + 16);
          const expected = optimalBrainQuantize(x, damped, order, (value, channel) => {
            const s = scale![head * 16 + channel]!;
            const z = zero![head * 16 + channel]!;
            const normalised = Math.fround(Math.fround(value - z) * Math.fround(1 / s));
            const code = midpoints!.filter((middle) => middle < normalised).length;
            return Math.fround(Math.fround(levels![code]! * s) + z);
          });
          expect(out.data.slice(token * 32 + head * 16, token * 32 + head * 16 + 16)).toEqual(expected);
        }
      }
    }
  });

  it("orders channels by falling sensitivity before damping, ties by channel, and does nothing for a dead head", () => {
    const matrix = new Float64Array(64);
    [3, 5, 5, 1, 0, 0, 9, 2].forEach((value, i) => (matrix[i * 9] = value));
    expect([...fitFeedback(matrix, 8).order]).toEqual([6, 1, 2, 0, 7, 3, 4, 5]);
    expect(fitFeedback(matrix, 8).weights.every((weight) => weight === 0)).toBe(true);
    const dead = fitFeedback(new Float64Array(64), 8);
    expect([...dead.order]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(dead.weights.every((weight) => weight === 0)).toBe(true);
  });

  it("does not depend on the size of the gradients, down to 1e-12", () => {
    const matrix = anisotropic(16, 3);
    expect(fitFeedback(matrix.map((value) => value * 1e-24), 16).weights).toEqual(fitFeedback(matrix, 16).weights);
  });

  it("cuts the held-out damage (g.e)^2 far below plain rounding, and the wrong factor makes it worse than plain", () => {
    const shape = { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 64 };
    const statistics = makeStatistics({ shape }).layers[0]!;
    const quantizer = channelKeys({ bits: 3, feedback: true });
    const good = quantizer.fit(statistics);
    const plain = channelKeys({ bits: 3 }).fit(statistics);
    const damage = (artifact: QuantizerArtifact): number => {
      const codec = quantizer.open(artifact);
      let sum = 0;
      for (const seed of [501, 502, 503, 504]) {
        const { k, keyGradients } = makeWindow({ shape, tokens: 65, seed });
        const page = { data: k.data.slice(64), rows: 64, cols: 64 };
        const out = makeMatrix(64, 64, () => 0);
        codec.decode(codec.encode(page), out);
        for (let token = 0; token < 64; token++) {
          let dot = 0;
          for (let i = 0; i < 64; i++) dot += keyGradients.data[(token + 1) * 64 + i]! * (out.data[token * 64 + i]! - page.data[token * 64 + i]!);
          sum += dot * dot;
        }
      }
      return sum;
    };
    // L L' = H, damped and in rounding order.
    const order = Array.from(good.arrays.feedbackOrder!);
    const damped = dampedRows(statistics.key.feedback!, 64);
    const lower = order.map(() => new Float64Array(64));
    for (let row = 0; row < 64; row++) {
      for (let col = 0; col <= row; col++) {
        let value = damped[order[row]!]![order[col]!]!;
        for (let k = 0; k < col; k++) value -= lower[row]![k]! * lower[col]![k]!;
        lower[row]![col] = row === col ? Math.sqrt(value) : value / lower[col]![col]!;
      }
    }
    const inverse = invert(lower.map((row) => Array.from(row)));
    const weighedBy = (upper: (j: number, z: number) => number): QuantizerArtifact => {
      const weights: number[] = [];
      for (let j = 0; j < 64; j++) for (let z = j + 1; z < 64; z++) weights.push(upper(j, z) / upper(j, j));
      return { ...good, arrays: { ...good.arrays, feedbackWeights: Float32Array.from(weights) } };
    };
    const plainDamage = damage(plain);
    expect(damage(good)).toBeLessThan(plainDamage / 10);
    // U = chol(H)' instead of a factor of inv(H).
    expect(damage(weighedBy((j, z) => lower[z]![j]!))).toBeGreaterThan(plainDamage);
    // U U' = inv(H) instead of U' U = inv(H).
    const otherType = damage(weighedBy((j, z) => inverse[z]![j]!));
    expect(otherType).toBeGreaterThan(plainDamage);
  });

  it("is refused for statistics without sensitivities, with the remedy", () => {
    const statistics = makeStatistics({ shape: { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 8 }, sensitivity: "none", tokens: 200 }).layers[0]!;
    expect(() => channelKeys({ bits: 3, feedback: true }).fit(statistics)).toThrowError(/--sensitivity fisher or --sensitivity attention/);
    expect(() => channelKeys({ bits: 3 }).fit(statistics)).not.toThrow();
  });
});
