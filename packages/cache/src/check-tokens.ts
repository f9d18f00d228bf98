/** Checks of what enters a layer. */

import { encodeHalf } from "@kvquant/packing";
import { check, checkInteger, checkLength } from "@kvquant/spec";
import type { Matrix } from "@kvquant/spec";

/** Throws INVALID_ARGUMENT unless `matrix` is `[rows, cols]` with at least one row. */
export function checkMatrix(what: string, matrix: Matrix, rows: number, cols: number): void {
  checkInteger(`${what} rows`, matrix.rows, { minimum: 1 });
  check(matrix.rows === rows, `${what} rows`, String(rows), matrix.rows);
  check(matrix.cols === cols, `${what} cols`, String(cols), matrix.cols);
  check(matrix.data instanceof Float32Array, `${what} data`, "a Float32Array", typeof matrix.data);
  checkLength(`${what} data`, matrix.data, rows * cols);
}

/** Rounds to fp16 bits. @throws INVALID_ARGUMENT at the first number that fp16 cannot hold, naming its token and channel */
export function encodeTokens(what: string, x: Matrix): Uint16Array {
  const bits = encodeHalf(x.data);
  for (let index = 0; index < bits.length; index++) {
    if ((bits[index]! & 0x7c00) === 0x7c00) {
      check(false, what, "finite numbers that fit fp16 (below 65520)", `${x.data[index]} at token ${Math.floor(index / x.cols)}, channel ${index % x.cols}`);
    }
  }
  return bits;
}
