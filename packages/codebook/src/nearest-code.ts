/** Nearest-level search. */

import { check, checkInteger } from "@kvquant/spec";

/**
 * Boundaries between neighbouring levels in fp32 arithmetic, `fround((a + b) / 2)`, `[levels - 1]`: what nearest-level search compares with,
 * here and in kernels.
 */
export function midpoints(levels: Float32Array): Float32Array {
  const middles = new Float32Array(Math.max(levels.length - 1, 0));
  for (let i = 0; i < middles.length; i++) middles[i] = (levels[i]! + levels[i + 1]!) / 2;
  return middles;
}

/**
 * Code of the nearest level: the number of midpoints below `x`, so a value on a midpoint takes the lower level, infinities the end levels, and NaN
 * code 0 (no midpoint is below it). Nothing is checked, this is a hot path; `encodeNearest` is faster for many values.
 */
export function nearestCode(middles: Float32Array, x: number): number {
  let code = 0;
  if (middles.length <= 15) {
    for (let i = 0; i < middles.length; i++) code += +(middles[i]! < x);
    return code;
  }
  let remaining = middles.length;
  while (remaining > 0) {
    const half = (remaining + 1) >> 1;
    if (middles[code + half - 1]! < x) code += half;
    remaining -= half;
  }
  return code;
}

/**
 * Writes the codes of `values[start .. start + count - 1]` to `out[0 .. count - 1]`, each as `nearestCode` has it (ties to the lower level, NaN code 0).
 * 3 to 8 ns a value for 4 to 32 levels: a descent without branches through the sorted midpoints, unrolled for 2 to 5 bits.
 * @throws INVALID_ARGUMENT for a range outside `values` or more than 255 midpoints
 */
export function encodeNearest(middles: Float32Array, values: Float32Array, start: number, count: number, out: Uint8Array): void {
  checkInteger("encodeNearest: start", start, { minimum: 0, maximum: values.length });
  checkInteger("encodeNearest: count", count, { minimum: 0, maximum: values.length - start });
  check(out.length >= count, "encodeNearest: out", `at least ${count} codes`, out.length);
  check(middles.length <= 255, "encodeNearest: midpoints", "at most 255", middles.length);
  // Padded with infinity, which nothing exceeds, to 2^depth - 1 midpoints.
  const depth = 32 - Math.clz32(middles.length);
  const tree = new Float32Array((1 << depth) - 1).fill(Infinity);
  tree.set(middles);
  if (depth === 2) descend2(tree, values.subarray(start, start + count), out);
  else if (depth === 3) descend3(tree, values.subarray(start, start + count), out);
  else if (depth === 4) descend4(tree, values.subarray(start, start + count), out);
  else if (depth === 5) descend5(tree, values.subarray(start, start + count), out);
  else descend(tree, values.subarray(start, start + count), out);
}

function descend(tree: Float32Array, values: Float32Array, out: Uint8Array): void {
  const top = (tree.length + 1) >> 1;
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    let code = 0;
    for (let step = top; step > 0; step >>= 1) code += step & -+(tree[code + step - 1]! < x);
    out[i] = code;
  }
}

function descend2(tree: Float32Array, values: Float32Array, out: Uint8Array): void {
  const low = tree[0]!;
  const middle = tree[1]!;
  const high = tree[2]!;
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    out[i] = +(low < x) + +(middle < x) + +(high < x);
  }
}

function descend3(tree: Float32Array, values: Float32Array, out: Uint8Array): void {
  const middle = tree[3]!;
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    let code = +(middle < x) << 2;
    code += +(tree[code + 1]! < x) << 1;
    out[i] = code + +(tree[code]! < x);
  }
}

function descend4(tree: Float32Array, values: Float32Array, out: Uint8Array): void {
  const middle = tree[7]!;
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    let code = +(middle < x) << 3;
    code += +(tree[code + 3]! < x) << 2;
    code += +(tree[code + 1]! < x) << 1;
    out[i] = code + +(tree[code]! < x);
  }
}

function descend5(tree: Float32Array, values: Float32Array, out: Uint8Array): void {
  const middle = tree[15]!;
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    let code = +(middle < x) << 4;
    code += +(tree[code + 7]! < x) << 3;
    code += +(tree[code + 3]! < x) << 2;
    code += +(tree[code + 1]! < x) << 1;
    out[i] = code + +(tree[code]! < x);
  }
}
