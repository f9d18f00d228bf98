/** Pages of calibration text kept out of all statistics, to price quantizers on. */

import { PAGE_TOKENS } from "@kvquant/spec";
import type { Matrix } from "@kvquant/spec";
import { decodeHalf, encodeHalf } from "@kvquant/packing";

/** Of the full pages of a window (64 tokens each, counted after the sinks), every 8th is held out: 7, 15, 23, ... */
export const HELD_OUT_STRIDE = 8;

/** At most so many pages of a calibration are held out. */
export const HELD_OUT_PAGES = 16;

/** Numbers as halves times a power of two. */
export interface ScaledHalves {
  readonly bits: Uint16Array;
  readonly scale: number;
}

/** One page `[64, kvHeads * headDim]` of keys (before RoPE) and values with their loss gradients. */
export interface HeldOutPage {
  /** Index of the window the page is from. */
  readonly window: number;
  /** Position of its first token in the window. */
  readonly position: number;
  readonly keys: ScaledHalves;
  readonly values: ScaledHalves;
  /** Present for sensitivity `fisher`. */
  readonly keyGradients?: ScaledHalves;
  readonly valueGradients?: ScaledHalves;
}

/** Whether full page `page` of a window is held out when `held` already are. */
export function isHeldOut(page: number, held: number): boolean {
  return page % HELD_OUT_STRIDE === HELD_OUT_STRIDE - 1 && held < HELD_OUT_PAGES;
}

/** Copies 64 rows from `firstRow` on; the scale brings the largest magnitude to 2^10 .. 2^11, so that tiny gradients survive. */
export function encodeScaledHalves(x: Matrix, firstRow: number): ScaledHalves {
  const rows = x.data.slice(firstRow * x.cols, (firstRow + PAGE_TOKENS) * x.cols);
  let largest = 0;
  for (let index = 0; index < rows.length; index++) largest = Math.max(largest, Math.abs(rows[index]!));
  const exponent = largest === 0 ? 0 : Math.max(-126, Math.min(126, Math.floor(Math.log2(largest)) - 10));
  const scale = 2 ** exponent;
  for (let index = 0; index < rows.length; index++) rows[index] = rows[index]! / scale;
  return { bits: encodeHalf(rows), scale };
}

/** The numbers again `[64, kvHeads * headDim]`. */
export function decodeScaledHalves({ bits, scale }: ScaledHalves): Float32Array {
  const rows = decodeHalf(bits);
  for (let index = 0; index < rows.length; index++) rows[index] = rows[index]! * scale;
  return rows;
}
