/** Products of a sparse matrix with dense vectors and matrices; each is added to `out`. */

import { check, checkLength } from "@kvquant/spec";
import type { Matrix } from "@kvquant/spec";
import { floatFromHalf } from "@kvquant/packing";
import { transpose } from "./convert.js";
import { lineCount } from "./sparse-matrix.js";
import type { SparseMatrix } from "./sparse-matrix.js";

/**
 * Adds `A x` to `out`: for `csr` a dot product per row, for `csc` a weighted sum of columns.
 * @param x `[cols]`
 * @param out `[rows]`, default zeros
 * @throws INVALID_ARGUMENT for wrong lengths
 */
export function multiplyVector(matrix: SparseMatrix, x: Float32Array, out: Float32Array = new Float32Array(matrix.rows)): Float32Array {
  checkLength("multiplyVector: x", x, matrix.cols);
  checkLength("multiplyVector: out", out, matrix.rows);
  if (matrix.layout === "csr") gatherLines(matrix, x, out);
  else scatterLines(matrix, x, out);
  return out;
}

/**
 * Adds `A' w` to `out`, the column sums with row r weighted by `weights[r]`: the sparse part of attention over values.
 * @param weights `[rows]`
 * @param out `[cols]`, default zeros
 * @throws INVALID_ARGUMENT for wrong lengths
 */
export function multiplyTransposed(matrix: SparseMatrix, weights: Float32Array, out: Float32Array = new Float32Array(matrix.cols)): Float32Array {
  checkLength("multiplyTransposed: weights", weights, matrix.rows);
  checkLength("multiplyTransposed: out", out, matrix.cols);
  return multiplyVector(transpose(matrix), weights, out);
}

/**
 * Adds `A B` to `out`.
 * @param dense B `[cols, n]`
 * @param out `[rows, n]`, default zeros
 * @throws INVALID_ARGUMENT for wrong shapes
 */
export function multiplyMatrix(matrix: SparseMatrix, dense: Matrix, out?: Matrix): Matrix {
  const width = dense.cols;
  const result = out ?? { data: new Float32Array(matrix.rows * width), rows: matrix.rows, cols: width };
  check(dense.rows === matrix.cols, "multiplyMatrix: dense", `${matrix.cols} rows`, dense.rows);
  checkLength("multiplyMatrix: dense.data", dense.data, dense.rows * width);
  check(result.rows === matrix.rows && result.cols === width, "multiplyMatrix: out", `[${matrix.rows}, ${width}]`, `[${result.rows}, ${result.cols}]`);
  checkLength("multiplyMatrix: out.data", result.data, matrix.rows * width);
  const { starts, indices, values } = matrix;
  const isHalf = values instanceof Uint16Array;
  const isRows = matrix.layout === "csr";
  for (let line = 0; line < lineCount(matrix); line++) {
    for (let i = starts[line]!; i < starts[line + 1]!; i++) {
      const value = isHalf ? floatFromHalf(values[i]!) : values[i]!;
      const from = (isRows ? indices[i]! : line) * width;
      const to = (isRows ? line : indices[i]!) * width;
      for (let col = 0; col < width; col++) result.data[to + col]! += value * dense.data[from + col]!;
    }
  }
  return result;
}

/** `out[line] +=` dot of the line with x; summed in double precision. */
function gatherLines(matrix: SparseMatrix, x: Float32Array, out: Float32Array): void {
  const { starts, indices, values } = matrix;
  const isHalf = values instanceof Uint16Array;
  for (let line = 0; line < out.length; line++) {
    const end = starts[line + 1]!;
    let sum = 0;
    for (let i = starts[line]!; i < end; i++) sum += (isHalf ? floatFromHalf(values[i]!) : values[i]!) * x[indices[i]!]!;
    out[line]! += sum;
  }
}

/** `out +=` each line times its weight. */
function scatterLines(matrix: SparseMatrix, weights: Float32Array, out: Float32Array): void {
  const { starts, indices, values } = matrix;
  const isHalf = values instanceof Uint16Array;
  for (let line = 0; line < weights.length; line++) {
    const weight = weights[line]!;
    const end = starts[line + 1]!;
    for (let i = starts[line]!; i < end; i++) out[indices[i]!]! += weight * (isHalf ? floatFromHalf(values[i]!) : values[i]!);
  }
}
