/** The numbers of a sparse matrix, whatever type they are kept in. */

import { decodeHalf } from "@kvquant/packing";
import type { SparseMatrix } from "./sparse-matrix.js";

/** Values `[entries]` as numbers: the matrix's own array for fp32, a copy for fp16. */
export function readValues(matrix: SparseMatrix): Float32Array {
  return matrix.values instanceof Uint16Array ? decodeHalf(matrix.values) : matrix.values;
}
