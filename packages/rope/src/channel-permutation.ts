/** Reordering of a head's channels between the two pairings. */

import { check, checkInteger } from "@kvquant/spec";

/**
 * Source channel of each channel when a head in half-split order is put into interleaved order: `out[i] = x[permutation[i]]`,
 * `[headDim]`. Applied to the rows of a q or k projection it converts weights. Channels from `rotaryDim` (default `headDim`) on stay.
 * @throws INVALID_ARGUMENT
 */
export function halfToInterleaved(headDim: number, rotaryDim = headDim): Uint32Array {
  const permutation = identity(headDim, rotaryDim);
  const pairs = rotaryDim / 2;
  for (let pair = 0; pair < pairs; pair++) {
    permutation[2 * pair] = pair;
    permutation[2 * pair + 1] = pair + pairs;
  }
  return permutation;
}

/**
 * Source channel of each channel when a head in interleaved order is put into half-split order: `out[i] = x[permutation[i]]`,
 * `[headDim]`; the inverse of `halfToInterleaved`.
 * @throws INVALID_ARGUMENT
 */
export function interleavedToHalf(headDim: number, rotaryDim = headDim): Uint32Array {
  const permutation = identity(headDim, rotaryDim);
  const pairs = rotaryDim / 2;
  for (let pair = 0; pair < pairs; pair++) {
    permutation[pair] = 2 * pair;
    permutation[pair + pairs] = 2 * pair + 1;
  }
  return permutation;
}

function identity(headDim: number, rotaryDim: number): Uint32Array {
  checkInteger("headDim", headDim, { minimum: 2 });
  checkInteger("rotaryDim", rotaryDim, { minimum: 2, maximum: headDim });
  check(rotaryDim % 2 === 0, "rotaryDim", "an even number", rotaryDim);
  return Uint32Array.from({ length: headDim }, (_, channel) => channel);
}
