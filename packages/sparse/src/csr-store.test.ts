import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { roundToHalf } from "@kvquant/packing";
import { toCsc, toCsr, toDense, transpose } from "./convert.js";
import { csrStore } from "./csr-store.js";
import type { CsrStore } from "./csr-store.js";
import { multiplyMatrix, multiplyTransposed, multiplyVector } from "./multiply.js";
import { packedByteLength } from "./sparse-matrix.js";
import type { SparseMatrix, ValueType } from "./sparse-matrix.js";

const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error;

interface Sample {
  readonly cols: number;
  readonly valueType: ValueType;
  /** Dense rows in float64, zero where there is no entry. */
  readonly dense: number[][];
}

/** Matrices with empty rows and columns; values that both types hold exactly. */
const sample: fc.Arbitrary<Sample> = fc.integer({ min: 1, max: 24 }).chain((cols) =>
  fc.record({
    cols: fc.constant(cols),
    valueType: fc.constantFrom("fp16" as const, "fp32" as const),
    dense: fc.array(
      fc.array(fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: -2048, max: 2048 }).map((n) => n / 64)), { minLength: cols, maxLength: cols }),
      { maxLength: 20 },
    ),
  }),
);

function storeOf({ cols, valueType, dense }: Sample): CsrStore {
  const store = csrStore({ cols, valueType });
  for (const row of dense) appendDense(store, row);
  return store;
}

function appendDense(store: CsrStore, row: number[]): void {
  const indices = row.flatMap((value, col) => (value === 0 ? [] : [col]));
  store.appendRow(indices, indices.map((col) => row[col]!));
}

function denseRows(matrix: SparseMatrix): number[][] {
  const { data, rows, cols } = toDense(matrix);
  return Array.from({ length: rows }, (_, row) => [...data.subarray(row * cols, (row + 1) * cols)].map((value) => value + 0));
}

/** The layout's own rules: starts from 0 to the entries, indices ascending and in range. */
function checkLayout(matrix: SparseMatrix): void {
  const lines = matrix.layout === "csr" ? matrix.rows : matrix.cols;
  const range = matrix.layout === "csr" ? matrix.cols : matrix.rows;
  expect(matrix.starts.length).toBe(lines + 1);
  expect([matrix.starts[0], matrix.starts[lines]]).toEqual([0, matrix.indices.length]);
  for (let line = 0; line < lines; line++) {
    const indices = [...matrix.indices.subarray(matrix.starts[line], matrix.starts[line + 1])];
    expect(indices).toEqual([...new Set(indices)].sort((a, b) => a - b));
    expect(indices.every((index) => index < range)).toBe(true);
  }
}

function expectClose(found: Float32Array, expected: number[], magnitude: number[]): void {
  found.forEach((value, i) => {
    // Each addition in fp32 errs by at most 2^-24 of a partial sum; at most 30 of them here.
    const bound = 30 * 2 ** -24 * magnitude[i]!;
    if (!(Math.abs(value - expected[i]!) <= bound)) expect.fail(`element ${i}: ${value} instead of ${expected[i]}, bound ${bound}`);
  });
}

describe("csrStore", () => {
  it("holds the rows that were appended, in both layouts and value types", () => {
    fc.assert(
      fc.property(sample, (s) => {
        const store = storeOf(s);
        const csr = store.matrix();
        const csc = toCsc(csr);
        expect([store.rows, store.cols, store.entries]).toEqual([s.dense.length, s.cols, s.dense.flat().filter((x) => x !== 0).length]);
        s.dense.forEach((row, r) => expect(store.rowLength(r)).toBe(row.filter((x) => x !== 0).length));
        for (const matrix of [csr, csc, toCsr(csc), transpose(transpose(csr))]) {
          checkLayout(matrix);
          expect(denseRows(matrix)).toEqual(s.dense);
        }
        expect(toCsr(csc)).toEqual(csr);
        const turned = Array.from({ length: s.cols }, (_, col) => s.dense.map((row) => row[col]!));
        expect(denseRows(transpose(csr))).toEqual(turned);
      }),
    );
  });

  it("equals a list of rows under any sequence of append, truncate and slice", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("append" as const), row: fc.array(fc.constantFrom(0, 0, 0, 1, -2.5), { minLength: 7, maxLength: 7 }) }),
      fc.record({ kind: fc.constant("truncate" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({ kind: fc.constant("slice" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let store = csrStore({ cols: 7 });
        let rows: number[][] = [];
        for (const action of steps) {
          if (action.kind === "append") {
            appendDense(store, action.row);
            rows.push(action.row);
          } else {
            const cut = Math.floor(action.share * rows.length);
            if (action.kind === "truncate") {
              store.truncate(cut);
              rows = rows.slice(0, cut);
            } else {
              const before = store;
              store = store.slice(cut, rows.length);
              expect(denseRows(before.matrix())).toEqual(rows);
              rows = rows.slice(cut);
            }
          }
          expect(denseRows(store.matrix())).toEqual(rows);
        }
      }),
    );
  });

  it("copies in a slice: changing one store leaves the other", () => {
    const store = csrStore({ cols: 4 });
    store.appendRow([1], [1]);
    store.appendRow([2], [2]);
    const part = store.slice(1, 2);
    store.truncate(1);
    store.appendRow([0, 3], [5, 6]);
    part.appendRow([3], [9]);
    expect(denseRows(part.matrix())).toEqual([[0, 0, 2, 0], [0, 0, 0, 9]]);
    expect(denseRows(store.matrix())).toEqual([[0, 1, 0, 0], [5, 0, 0, 6]]);
  });

  it("multiplies as float64 does, adding to what is in the output", () => {
    fc.assert(
      fc.property(sample, (s) => {
        const csr = storeOf(s).matrix();
        const x = Float32Array.from({ length: s.cols }, (_, i) => Math.sin(i + 1));
        const w = Float32Array.from({ length: s.dense.length }, (_, i) => Math.cos(3 * i));
        const width = 3;
        const dense = { data: Float32Array.from({ length: s.cols * width }, (_, i) => Math.sin(7 * i)), rows: s.cols, cols: width };
        const product = (terms: number[]): [number, number] => [terms.reduce((a, b) => a + b, 0.5), terms.reduce((a, b) => a + Math.abs(b), 0.5)];
        const rowsX = s.dense.map((row) => product(row.map((value, col) => value * x[col]!)));
        const colsW = Array.from({ length: s.cols }, (_, col) => product(s.dense.map((row, r) => row[col]! * w[r]!)));
        const rowsB = s.dense.flatMap((row) => [0, 1, 2].map((n) => product(row.map((value, col) => value * dense.data[col * width + n]!))));
        for (const matrix of [csr, toCsc(csr)]) {
          const check = (found: Float32Array, expected: [number, number][]): void => expectClose(found, expected.map(([sum]) => sum), expected.map(([, magnitude]) => magnitude));
          check(multiplyVector(matrix, x, new Float32Array(matrix.rows).fill(0.5)), rowsX);
          check(multiplyTransposed(matrix, w, new Float32Array(s.cols).fill(0.5)), colsW);
          const out = { data: new Float32Array(matrix.rows * width).fill(0.5), rows: matrix.rows, cols: width };
          expect(multiplyMatrix(matrix, dense, out)).toBe(out);
          check(out.data, rowsB);
          expect(multiplyVector(matrix, x).length).toBe(matrix.rows);
        }
      }),
    );
  });

  it("chooses the index width by the number of columns and counts bytes exactly", () => {
    for (const [cols, width] of [[1, 1], [256, 1], [257, 2], [65536, 2], [65537, 4], [2 ** 32, 4]] as const) {
      for (const [valueType, valueBytes] of [["fp16", 2], ["fp32", 4]] as const) {
        const store = csrStore({ cols, valueType });
        store.appendRow([0], [1]);
        store.appendRow([], []);
        store.appendRow(cols > 1 ? [0, cols - 1] : [0], cols > 1 ? [2, 3] : [2]);
        const matrix = store.matrix();
        expect(matrix.indices[matrix.indices.length - 1]).toBe(cols - 1);
        expect(matrix.indices.BYTES_PER_ELEMENT).toBe(width);
        const packed = 4 * 4 + store.entries * (width + valueBytes);
        expect(store.packedByteLength).toBe(packed);
        expect(packedByteLength(matrix)).toBe(packed);
        expect(store.byteLength).toBe(matrix.starts.buffer.byteLength + matrix.indices.buffer.byteLength + matrix.values.buffer.byteLength);
        expect(store.byteLength).toBeGreaterThanOrEqual(packed);
        expect(store.slice(0, 3).byteLength).toBe(packed);
      }
    }
  });

  it("grows by doubling, so that appending copies each entry a bounded number of times", () => {
    const store = csrStore({ cols: 128 });
    let grown = 0;
    let before = store.byteLength;
    for (let row = 0; row < 5000; row++) {
      store.appendRow([row % 128], [1]);
      if (store.byteLength !== before) grown++;
      before = store.byteLength;
    }
    expect(grown).toBeLessThan(30);
    expect(store.byteLength).toBeLessThan(2.2 * store.packedByteLength);
    store.truncate(0);
    expect([store.entries, store.packedByteLength, store.byteLength]).toEqual([0, 4, before]);
  });

  it("rounds values to fp16 when it keeps fp16, and to fp32 otherwise", () => {
    for (const [valueType, expected] of [["fp16", roundToHalf(0.1)], ["fp32", Math.fround(0.1)]] as const) {
      const store = csrStore({ cols: 1, valueType });
      store.appendRow([0], [0.1]);
      expect(toDense(store.matrix()).data[0]).toBe(expected);
    }
  });

  it("refuses bad rows and stays as it was", () => {
    const store = csrStore({ cols: 8 });
    store.appendRow([1, 5], [1, 2]);
    const before = store.matrix();
    const bad: [number[], number[]][] = [
      [[8], [1]],
      [[-1], [1]],
      [[1.5], [1]],
      [[NaN], [1]],
      [[2, 2], [1, 1]],
      [[3, 2], [1, 1]],
      [[1], []],
      [[0, 1], [1, NaN]],
      [[0, 1], [1, Infinity]],
      [[0, 1], [1, 65520]],
    ];
    for (const [indices, values] of bad) expect(() => store.appendRow(indices, values)).toThrowError(invalid);
    expect(store.matrix()).toEqual(before);
    const wide = csrStore({ cols: 8, valueType: "fp32" });
    wide.appendRow([0], [65520]);
    expect(() => wide.appendRow([0], [1e39])).toThrowError(invalid);
  });

  it("says in which layout and value type it holds them, in a copy too", () => {
    for (const valueType of ["fp16", "fp32"] as const) {
      const store = csrStore({ cols: 3, valueType });
      store.appendRow([1], [2]);
      expect([store.valueType, store.slice(0, 1).valueType, store.slice(0, 0).valueType]).toEqual([valueType, valueType, valueType]);
      const csr = store.matrix();
      const csc = toCsc(csr);
      expect([csr, store.slice(0, 1).matrix(), csc, toCsr(csc), transpose(csr), transpose(csc)].map(({ layout }) => layout)).toEqual(["csr", "csr", "csc", "csr", "csc", "csr"]);
    }
    expect(csrStore({ cols: 3 }).matrix().layout).toBe("csr");
  });

  it("refuses more entries than row starts can count, before it reads them", () => {
    const row = (length: number): ArrayLike<number> => ({ length });
    const store = csrStore({ cols: 2 ** 32 });
    const capacity = expect.objectContaining({ code: "OUT_OF_CAPACITY" }) as Error;
    expect(() => store.appendRow(row(2 ** 32), row(2 ** 32))).toThrowError(capacity);
    expect(() => store.appendRow(row(2 ** 32 - 1), row(2 ** 32 - 1))).toThrowError(invalid); // room enough: the first index is missing
    store.appendRow([7], [1]);
    expect(() => store.appendRow(row(2 ** 32 - 1), row(2 ** 32 - 1))).toThrowError(capacity);
  });

  it("makes room for a product with a matrix where none is given", () => {
    const store = csrStore({ cols: 2 });
    store.appendRow([0, 1], [2, 3]);
    store.appendRow([1], [4]);
    store.appendRow([], []);
    const dense = { data: Float32Array.of(1, 10, 100, 1000), rows: 2, cols: 2 };
    expect(multiplyMatrix(store.matrix(), dense)).toEqual({ data: Float32Array.of(302, 3020, 400, 4000, 0, 0), rows: 3, cols: 2 });
  });

  it("refuses rows that do not exist and shapes that do not fit", () => {
    const store = csrStore({ cols: 8 });
    expect(() => store.rowLength(0)).toThrowError(invalid);
    store.appendRow([1, 5], [1, 2]);
    for (const row of [-1, 1, 0.5]) expect(() => store.rowLength(row)).toThrowError(invalid);
    for (const rows of [-1, 2, 0.5]) expect(() => store.truncate(rows)).toThrowError(invalid);
    for (const [start, end] of [[1, 0], [0, 2], [-1, 1]] as const) expect(() => store.slice(start, end)).toThrowError(invalid);
    for (const cols of [0, -1, 1.5, 2 ** 32 + 1]) expect(() => csrStore({ cols })).toThrowError(invalid);
    expect(() => csrStore({ cols: 8, valueType: "fp8" as ValueType })).toThrowError(invalid);
    const matrix = store.matrix();
    expect(() => multiplyVector(matrix, new Float32Array(7))).toThrowError(invalid);
    expect(() => multiplyVector(matrix, new Float32Array(8), new Float32Array(2))).toThrowError(invalid);
    expect(() => multiplyTransposed(matrix, new Float32Array(2))).toThrowError(invalid);
    expect(() => multiplyTransposed(matrix, new Float32Array(1), new Float32Array(7))).toThrowError(invalid);
    expect(() => multiplyMatrix(matrix, { data: new Float32Array(7), rows: 7, cols: 1 })).toThrowError(invalid);
    expect(() => multiplyMatrix(matrix, { data: new Float32Array(7), rows: 8, cols: 1 })).toThrowError(invalid);
    expect(() => multiplyMatrix(matrix, { data: new Float32Array(8), rows: 8, cols: 1 }, { data: new Float32Array(2), rows: 2, cols: 1 })).toThrowError(invalid);
    for (const [rows, cols] of [[2, 1], [1, 2]] as const) {
      expect(() => multiplyMatrix(matrix, { data: new Float32Array(8), rows: 8, cols: 1 }, { data: new Float32Array(1), rows, cols })).toThrowError(invalid);
    }
  });
});
