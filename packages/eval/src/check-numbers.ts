/** Refuses results that are no numbers. */

import { KvquantError } from "@kvquant/spec";

/** Throws CORRUPT_DATA at the first NaN or infinity in a matrix `[.., cols]`, naming where it was found. */
export function checkNumbers(what: string, data: Float32Array, cols: number): void {
  for (let index = 0; index < data.length; index++) {
    const value = data[index]!;
    if (value - value !== 0) {
      const place = `token ${Math.floor(index / cols)}, channel ${index % cols}`;
      throw new KvquantError(
        "CORRUPT_DATA",
        `${what}: expected finite numbers, got ${value} at ${place}; the model file may be damaged, or its activations leave the range of float32`,
      );
    }
  }
}
