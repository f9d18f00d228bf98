/** Sparse matrices in compressed form: CSR (rows are lines) and CSC (columns are lines). */

/** How values are kept: `fp16` bits in a Uint16Array, or `fp32`. */
export type ValueType = "fp16" | "fp32";

/** Indices inside a line, as narrow as the length of a line allows. */
export type IndexArray = Uint8Array | Uint16Array | Uint32Array;

/**
 * A sparse matrix `[rows, cols]`, borrowed. Its lines (rows of `csr`, columns of `csc`) follow each other: line l is
 * `indices[i], values[i]` for i = starts[l] .. starts[l + 1] - 1, indices strictly ascending.
 */
export interface SparseMatrix<Layout extends "csr" | "csc" = "csr" | "csc"> {
  readonly layout: Layout;
  readonly rows: number;
  readonly cols: number;
  /** `[lines + 1]`, from 0 to the number of entries. */
  readonly starts: Uint32Array;
  /** `[entries]`: the column of each entry of `csr`, the row of each entry of `csc`. */
  readonly indices: IndexArray;
  /** `[entries]`: numbers, or fp16 bits in a Uint16Array. */
  readonly values: Float32Array | Uint16Array;
}

/** Lines of a matrix: rows of `csr`, columns of `csc`. */
export function lineCount(matrix: SparseMatrix): number {
  return matrix.layout === "csr" ? matrix.rows : matrix.cols;
}

/** Bytes of the matrix packed without spare room: `4 * (lines + 1)` for the starts, then indices and values of each entry. */
export function packedByteLength(matrix: SparseMatrix): number {
  const entries = matrix.starts[lineCount(matrix)]!;
  return 4 * (lineCount(matrix) + 1) + entries * (matrix.indices.BYTES_PER_ELEMENT + matrix.values.BYTES_PER_ELEMENT);
}

/** The narrowest index array for a line of `length` elements: u8 up to 256, u16 up to 65,536, else u32. */
export function createIndexArray(length: number, entries: number): IndexArray {
  if (length <= 256) return new Uint8Array(entries);
  return length <= 65536 ? new Uint16Array(entries) : new Uint32Array(entries);
}

/** Room for values of the given type. */
export function createValueArray(type: ValueType, entries: number): Float32Array | Uint16Array {
  return type === "fp16" ? new Uint16Array(entries) : new Float32Array(entries);
}
