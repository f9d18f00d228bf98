/** Copies of matrices with tokens innermost. */

import type { Matrix } from "@kvquant/spec";

const buffers: Float32Array[] = [];

/**
 * The rows `rows` (default all) of `x`, transposed: `[cols, rows]`. The result is scratch number `slot`, valid until the next call
 * with that slot, and may be longer than needed.
 */
export function transposeRows(x: Matrix, rows: Uint32Array | undefined, slot: number): Float32Array {
  const { data, cols } = x;
  const count = rows?.length ?? x.rows;
  let out = buffers[slot];
  if (out === undefined || out.length < count * cols) {
    out = new Float32Array(count * cols);
    buffers[slot] = out;
  }
  // 16 x 16 tiles, so that neither side strides through memory.
  for (let row0 = 0; row0 < count; row0 += 16) {
    const rowEnd = Math.min(row0 + 16, count);
    for (let col0 = 0; col0 < cols; col0 += 16) {
      const colEnd = Math.min(col0 + 16, cols);
      for (let row = row0; row < rowEnd; row++) {
        const from = (rows === undefined ? row : rows[row]!) * cols;
        for (let col = col0; col < colEnd; col++) out[col * count + row] = data[from + col]!;
      }
    }
  }
  return out;
}
