/** NormalFloat levels. */

import { checkInteger } from "@kvquant/spec";
import type { Bits } from "@kvquant/spec";
import { normalQuantile } from "./normal-distribution.js";

/**
 * NormalFloat: 2^bits quantiles of the normal distribution with an exact zero, scaled to [-1, 1]: 2^(bits-1) - 1 negative levels, 0, 2^(bits-1)
 * positive ones. 4 bits are QLoRA's NF4 to 3e-7 (its published table was made in fp32); other widths follow the same construction. 1 bit would be {0, 1}.
 * Source: Dettmers et al. 2023, "QLoRA", section 3 and appendix E; the outermost quantile is 1 - (1/(2 * 2^bits) + 1/(2 * (2^bits - 1))) / 2.
 * @throws INVALID_ARGUMENT for bits outside 2 .. 8
 */
export function normalFloat(bits: Exclude<Bits, 1>): Float32Array {
  checkInteger("bits", bits, { minimum: 2, maximum: 8 });
  const half = 2 ** (bits - 1);
  const outermost = 1 - (1 / (4 * half) + 1 / (4 * half - 2)) / 2;
  const largest = normalQuantile(outermost);
  const levels = new Float32Array(2 * half);
  for (let i = 0; i < half; i++) levels[2 * half - 1 - i] = normalQuantile(outermost + ((0.5 - outermost) * i) / half) / largest;
  for (let i = 0; i < half - 1; i++) levels[i] = -normalQuantile(outermost + ((0.5 - outermost) * i) / (half - 1)) / largest;
  return levels;
}
