/** Stage: rotates heads by a Hadamard matrix. */

import { corrupt } from "../corrupt.js";
import { applyHadamard, hadamardBlock } from "../numeric/hadamard.js";
import { parameter } from "./parameters.js";
import type { Parameters, Stage } from "./stage.js";

/** Multiplies each head by the orthonormal Hadamard matrix (blocks of the largest power of two that divides the head dim), so that outliers spread. */
export function hadamard(): Stage {
  return {
    specVersion: 1,
    id: "kvquant/hadamard",
    fit: ({ statistics }) => ({ parameters: { block: Float32Array.of(hadamardBlock(statistics.geometry.headDim)) }, context: { mixed: true, range: undefined, histogram: undefined } }),
    forward(x, parameters) {
      applyHadamard(x.data, blockOf(parameters, x.cols));
      return { bytes: new Uint8Array(0) };
    },
    inverse(x, side, parameters) {
      if (side.length > 0) throw corrupt("hadamard: side data", "none", `${side.length} bytes`);
      applyHadamard(x.data, blockOf(parameters, x.cols));
    },
  };
}

function blockOf(parameters: Parameters, columns: number): number {
  const [block] = parameter(parameters, "block", 1) as unknown as [number];
  if (block < 1 || hadamardBlock(columns) % block !== 0) throw corrupt("stage parameter block", `a power of two that divides ${columns}`, block);
  return block;
}
