/** Rotates queries or keys. */

import { check, checkInteger, checkLength } from "@kvquant/spec";
import type { Pairing } from "./rope-config.js";
import { checkRopeTable } from "./rope-table.js";
import type { RopeTable } from "./rope-table.js";

/** What `applyRope` is told about its operand. */
export interface ApplyRopeOptions {
  readonly rows: number;
  readonly heads: number;
  readonly headDim: number;
  /** Channels that rotate, the first of each head; the table's rotary dim. */
  readonly rotaryDim: number;
  readonly pairing: Pairing;
  /** Row r is rotated by table row `r + offset`; default 0. */
  readonly offset?: number;
  /** Rotate back: `applyRope` with the same options and `inverse` undoes it. Default false. */
  readonly inverse?: boolean;
  /**
   * Multiply rotated channels by `table.attentionFactor` (divide when `inverse`); default false: fold its square into the score scale instead, which
   * is the same only when every channel rotates.
   */
  readonly attentionFactor?: boolean;
  /** Result `[rows, heads * headDim]`; default `x` itself, rotated in place. Must not overlap `x` otherwise. */
  readonly out?: Float32Array;
}

/**
 * Rotates each pair (a, b) of `x` `[rows, heads * headDim]` to (a cos - b sin, a sin + b cos) and returns the result, `out` or `x`.
 * Products and sums are float64, rounded once to fp32.
 * Source: Su et al. 2021, "RoFormer", equation 34.
 * @throws INVALID_ARGUMENT when shapes disagree or the table is too short
 */
export function applyRope(x: Float32Array, table: RopeTable, options: ApplyRopeOptions): Float32Array {
  const { rows, heads, headDim, rotaryDim, pairing } = options;
  const offset = options.offset ?? 0;
  const out = options.out ?? x;
  checkInteger("applyRope: rows", rows, { minimum: 0 });
  checkInteger("applyRope: heads", heads, { minimum: 1 });
  checkInteger("applyRope: headDim", headDim, { minimum: 2 });
  checkInteger("applyRope: rotaryDim", rotaryDim, { minimum: 2, maximum: headDim });
  check(rotaryDim % 2 === 0, "applyRope: rotaryDim", "an even number", rotaryDim);
  check(pairing === "half" || pairing === "interleaved", "applyRope: pairing", "half or interleaved", pairing);
  checkInteger("applyRope: offset", offset, { minimum: 0 });
  checkLength("applyRope: x", x, rows * heads * headDim);
  checkLength("applyRope: out", out, x.length);
  checkRopeTable(table, rotaryDim);
  check(offset + rows <= table.count, "applyRope: table", `at least ${offset + rows} positions (offset ${offset} + rows ${rows})`, table.count);

  const gain = options.attentionFactor ? (options.inverse ? 1 / table.attentionFactor : table.attentionFactor) : 1;
  if (out !== x && rotaryDim < headDim) out.set(x);
  rotate(x, out, { cos: table.cos, sin: table.sin, rows, heads, headDim, pairs: rotaryDim / 2, interleaved: pairing === "interleaved", offset, gain, sign: options.inverse ? -gain : gain });
  return out;
}

interface Rotation {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly rows: number;
  readonly heads: number;
  readonly headDim: number;
  readonly pairs: number;
  readonly interleaved: boolean;
  readonly offset: number;
  /** Multiplies cosines. */
  readonly gain: number;
  /** Multiplies sines. */
  readonly sign: number;
}

function rotate(x: Float32Array, out: Float32Array, rotation: Rotation): void {
  const { cos, sin, rows, heads, headDim, pairs, gain, sign } = rotation;
  const step = rotation.interleaved ? 2 : 1;
  const partner = rotation.interleaved ? 1 : pairs;
  let head = 0;
  for (let row = 0; row < rows; row++) {
    const angles = (row + rotation.offset) * pairs;
    for (let h = 0; h < heads; h++, head += headDim) {
      for (let pair = 0, i = head; pair < pairs; pair++, i += step) {
        const c = cos[angles + pair]! * gain;
        const s = sin[angles + pair]! * sign;
        const a = x[i]!;
        const b = x[i + partner]!;
        out[i] = a * c - b * s;
        out[i + partner] = a * s + b * c;
      }
    }
  }
}
