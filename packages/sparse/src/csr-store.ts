/** A sparse matrix that grows by rows: the outliers of a growing sequence of tokens. */

import { check, checkInteger, checkLength, KvquantError } from "@kvquant/spec";
import { halfFromFloat } from "@kvquant/packing";
import { createIndexArray, createValueArray, packedByteLength } from "./sparse-matrix.js";
import type { SparseMatrix, ValueType } from "./sparse-matrix.js";

export interface CsrStoreOptions {
  readonly cols: number;
  /** Default `fp16`. */
  readonly valueType?: ValueType;
}

/** Rows are tokens. On a throw the store is as before. */
export interface CsrStore {
  readonly cols: number;
  readonly valueType: ValueType;
  readonly rows: number;
  readonly entries: number;
  /** Bytes allocated, spare room included. */
  readonly byteLength: number;
  /** Bytes that the same content takes without spare room, see `packedByteLength`. */
  readonly packedByteLength: number;
  /**
   * Appends a row in amortised O(its entries); fp16 values are rounded to nearest even.
   * @throws INVALID_ARGUMENT unless indices are strictly ascending and below `cols`, and values as many, finite, and within the value type; OUT_OF_CAPACITY beyond 2^32 - 1 entries
   */
  appendRow(indices: ArrayLike<number>, values: ArrayLike<number>): void;
  /**
   * Entries of a row.
   * @throws INVALID_ARGUMENT for a row that does not exist
   */
  rowLength(row: number): number;
  /**
   * Keeps the first `rows` rows; the room stays allocated.
   * @throws INVALID_ARGUMENT for more rows than there are
   */
  truncate(rows: number): void;
  /**
   * A new store with a copy of rows `start .. end - 1`, without spare room.
   * @throws INVALID_ARGUMENT unless 0 <= start <= end <= rows
   */
  slice(start: number, end: number): CsrStore;
  /** The content without a copy; valid until the next change of the store. */
  matrix(): SparseMatrix<"csr">;
}

/** Entries that the u32 row starts can count. */
const MAXIMUM_ENTRIES = 2 ** 32 - 1;

/**
 * An empty store `[0, cols]`.
 * @throws INVALID_ARGUMENT when `cols` is not a whole number from 1 to 2^32
 */
export function csrStore(options: CsrStoreOptions): CsrStore {
  const { cols, valueType = "fp16" } = options;
  checkInteger("csrStore: cols", cols, { minimum: 1, maximum: 2 ** 32 });
  check(valueType === "fp16" || valueType === "fp32", "csrStore: valueType", `"fp16" or "fp32"`, valueType);
  return storeOf({ layout: "csr", rows: 0, cols, starts: new Uint32Array(1), indices: createIndexArray(cols, 0), values: createValueArray(valueType, 0) });
}

/** A store that owns the arrays of a matrix from now on. */
function storeOf(initial: SparseMatrix<"csr">): CsrStore {
  const { cols } = initial;
  const valueType: ValueType = initial.values instanceof Uint16Array ? "fp16" : "fp32";
  let { rows, starts, indices, values } = initial;
  let entries = starts[rows]!;

  function checkRow(what: string, newIndices: ArrayLike<number>, newValues: ArrayLike<number>): void {
    checkLength(`${what}: values`, newValues, newIndices.length);
    if (entries + newIndices.length > MAXIMUM_ENTRIES) {
      throw new KvquantError("OUT_OF_CAPACITY", `${what}: expected at most ${MAXIMUM_ENTRIES} entries, got ${entries + newIndices.length}; start another store`);
    }
    let previous = -1;
    for (let i = 0; i < newIndices.length; i++) {
      const index = newIndices[i]!;
      if (!(Number.isInteger(index) && index > previous && index < cols)) {
        throw new KvquantError("INVALID_ARGUMENT", `${what}: expected strictly ascending indices below ${cols}, got ${index} after ${previous}`);
      }
      previous = index;
      const stored = valueType === "fp16" ? halfFromFloat(newValues[i]!) & 0x7fff : Math.abs(Math.fround(newValues[i]!));
      if (!(stored < (valueType === "fp16" ? 0x7c00 : Number.POSITIVE_INFINITY))) {
        throw new KvquantError("INVALID_ARGUMENT", `${what}: expected finite ${valueType} values, got ${newValues[i]} at column ${index}; clamp it first`);
      }
    }
  }

  function reserve(newRows: number, newEntries: number): void {
    if (newRows + 1 > starts.length) starts = copyInto(new Uint32Array(Math.max(newRows + 1, starts.length * 2, 16)), starts);
    if (newEntries > indices.length) {
      const room = Math.max(newEntries, indices.length * 2, 16);
      const grownIndices = copyInto(createIndexArray(cols, room), indices);
      values = copyInto(createValueArray(valueType, room), values);
      indices = grownIndices;
    }
  }

  function matrix(): SparseMatrix<"csr"> {
    return { layout: "csr", rows, cols, starts: starts.subarray(0, rows + 1), indices: indices.subarray(0, entries), values: values.subarray(0, entries) };
  }

  return {
    cols,
    valueType,
    get rows() {
      return rows;
    },
    get entries() {
      return entries;
    },
    get byteLength() {
      return starts.byteLength + indices.byteLength + values.byteLength;
    },
    get packedByteLength() {
      return packedByteLength(matrix());
    },
    appendRow(newIndices, newValues) {
      checkRow("appendRow", newIndices, newValues);
      reserve(rows + 1, entries + newIndices.length);
      for (let i = 0; i < newIndices.length; i++) {
        indices[entries + i] = newIndices[i]!;
        values[entries + i] = valueType === "fp16" ? halfFromFloat(newValues[i]!) : newValues[i]!;
      }
      entries += newIndices.length;
      rows++;
      starts[rows] = entries;
    },
    rowLength(row) {
      checkInteger("rowLength: row", row, { minimum: 0, maximum: rows - 1 });
      return starts[row + 1]! - starts[row]!;
    },
    truncate(newRows) {
      checkInteger("truncate: rows", newRows, { minimum: 0, maximum: rows });
      rows = newRows;
      entries = starts[rows]!;
    },
    slice(start, end) {
      checkInteger("slice: end", end, { minimum: 0, maximum: rows });
      checkInteger("slice: start", start, { minimum: 0, maximum: end });
      const first = starts[start]!;
      const last = starts[end]!;
      return storeOf({
        layout: "csr",
        rows: end - start,
        cols,
        starts: starts.slice(start, end + 1).map((position) => position - first),
        indices: indices.slice(first, last),
        values: values.slice(first, last),
      });
    },
    matrix,
  };
}

function copyInto<A extends Uint8Array | Uint16Array | Uint32Array | Float32Array>(target: A, source: ArrayLike<number>): A {
  target.set(source);
  return target;
}
