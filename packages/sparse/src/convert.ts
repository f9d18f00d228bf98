/** Conversions between the layouts of a sparse matrix, and to a dense one. */

import type { Matrix } from "@kvquant/spec";
import { createIndexArray, createValueArray, lineCount } from "./sparse-matrix.js";
import type { SparseMatrix } from "./sparse-matrix.js";
import { readValues } from "./read-values.js";

/** The same matrix stored by columns; a copy, O(entries + rows + cols). */
export function toCsc(matrix: SparseMatrix<"csr">): SparseMatrix<"csc"> {
  return { layout: "csc", rows: matrix.rows, cols: matrix.cols, ...turnLines(matrix, matrix.cols) };
}

/** The same matrix stored by rows; a copy, O(entries + rows + cols). */
export function toCsr(matrix: SparseMatrix<"csc">): SparseMatrix<"csr"> {
  return { layout: "csr", rows: matrix.rows, cols: matrix.cols, ...turnLines(matrix, matrix.rows) };
}

/** The transposed matrix `[cols, rows]` without a copy: the lines stay, their name changes. */
export function transpose(matrix: SparseMatrix<"csr">): SparseMatrix<"csc">;
export function transpose(matrix: SparseMatrix<"csc">): SparseMatrix<"csr">;
export function transpose(matrix: SparseMatrix): SparseMatrix;
export function transpose(matrix: SparseMatrix): SparseMatrix {
  return { ...matrix, layout: matrix.layout === "csr" ? "csc" : "csr", rows: matrix.cols, cols: matrix.rows };
}

/** The matrix `[rows, cols]` with its zeros written out. */
export function toDense(matrix: SparseMatrix): Matrix {
  const { rows, cols, starts, indices } = matrix;
  const data = new Float32Array(rows * cols);
  const values = readValues(matrix);
  const lineStep = matrix.layout === "csr" ? cols : 1;
  const indexStep = matrix.layout === "csr" ? 1 : cols;
  for (let line = 0; line < lineCount(matrix); line++) {
    for (let i = starts[line]!; i < starts[line + 1]!; i++) data[line * lineStep + indices[i]! * indexStep] = values[i]!;
  }
  return { data, rows, cols };
}

/** Counting sort of the entries by their index; lines are visited in order, so that the new indices ascend. */
function turnLines(matrix: SparseMatrix, newLines: number): Pick<SparseMatrix, "starts" | "indices" | "values"> {
  const lines = lineCount(matrix);
  const entries = matrix.starts[lines]!;
  const starts = new Uint32Array(newLines + 1);
  for (let i = 0; i < entries; i++) starts[matrix.indices[i]! + 1]!++;
  for (let line = 0; line < newLines; line++) starts[line + 1]! += starts[line]!;
  const next = starts.slice(0, newLines);
  const indices = createIndexArray(lines, entries);
  const values = createValueArray(matrix.values instanceof Uint16Array ? "fp16" : "fp32", entries);
  for (let line = 0; line < lines; line++) {
    for (let i = matrix.starts[line]!; i < matrix.starts[line + 1]!; i++) {
      const to = next[matrix.indices[i]!]!++;
      indices[to] = line;
      values[to] = matrix.values[i]!;
    }
  }
  return { starts, indices, values };
}
