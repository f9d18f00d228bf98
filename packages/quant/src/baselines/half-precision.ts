/** No compression: what a side is stored as when the other one is measured alone. */

import type { Side } from "@kvquant/spec";
import type { Quantizer } from "../quantizer.js";
import { loadHalf, storeHalf } from "../numeric/half-numbers.js";
import { pageQuantizer } from "../page-quantizer.js";

/** Every value as fp16, which is how caches hold tokens that are not compressed: exact on keys before RoPE and on values. 16 bits a value; needs no calibration. */
export function halfPrecision(side: Side): Quantizer {
  return pageQuantizer({
    id: `baseline/half-precision-${side}s`,
    side,
    frame: "pre-rope",
    // The contract's widest code: a half is two of them.
    fit: () => ({ bits: 8, packing: "fp16", stages: [], arrays: {} }),
    open: (_artifact, { kvHeads, headDim }) => ({
      byteLength: (tokens) => 2 * tokens * kvHeads * headDim,
      write(x, _tokens, bytes) {
        for (let index = 0; index < x.length; index++) storeHalf(bytes, 2 * index, x[index]!);
      },
      read(bytes, _tokens, out) {
        for (let index = 0; index < out.length; index++) out[index] = loadHalf(bytes, 2 * index);
      },
    }),
  });
}
