/** The row order of q and k in GGUF files of architecture llama, and its undoing. */

import type { RopeConfig } from "@kvquant/rope";

/**
 * File row of each row `[heads * headDim]` after undoing the permutation: files of architecture llama pair neighbours (2i, 2i + 1) in RoPE,
 * the packages pair (i, i + rotaryDim / 2). Channels that do not rotate stay where they are.
 */
export function halfSplitRows(heads: number, rope: RopeConfig): Int32Array {
  const { headDim, rotaryDim } = rope;
  const pairs = rotaryDim / 2;
  const order = new Int32Array(heads * headDim);
  for (let row = 0; row < order.length; row++) {
    const channel = row % headDim;
    const inFile = channel < rotaryDim ? 2 * (channel % pairs) + (channel < pairs ? 0 : 1) : channel;
    order[row] = row - channel + inFile;
  }
  return order;
}
