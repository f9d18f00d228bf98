/** What codecs expect of the matrices they are given. */

import { check, checkFinite, checkLength, PAGE_TOKENS } from "@kvquant/spec";
import type { Matrix } from "@kvquant/spec";

/** Throws INVALID_ARGUMENT unless `x` is a page `[1 .. 64, columns]` of finite numbers. */
export function checkPage(x: Matrix, columns: number): void {
  check(Number.isInteger(x.rows) && x.rows >= 1 && x.rows <= PAGE_TOKENS, "encode: tokens", `1 to ${PAGE_TOKENS}`, x.rows);
  check(x.cols === columns, "encode: columns", `${columns} (kvHeads * headDim)`, x.cols);
  checkLength("encode: data", x.data, x.rows * columns);
  checkFinite("encode: x", x.data);
}

/** Throws INVALID_ARGUMENT unless `out` is `[tokens, columns]`. */
export function checkOut(out: Matrix, tokens: number, columns: number): void {
  check(out.rows === tokens && out.cols === columns, "decode: out", `a matrix [${tokens}, ${columns}]`, `[${out.rows}, ${out.cols}]`);
  checkLength("decode: out.data", out.data, tokens * columns);
}
