/** How one layer's cache rows split into KV heads, and how a head's channels are numbered as codes. */

import { check, checkInteger } from "@kvquant/spec";
import type { QuantizerArtifact } from "@kvquant/spec";
import { halfToInterleaved } from "@kvquant/rope";
import { corrupt } from "./corrupt.js";

/** Sizes of one layer's keys or values; a row has `kvHeads * headDim` channels, channel `head * headDim + i`. */
export interface Geometry {
  readonly kvHeads: number;
  readonly headDim: number;
  /** Channels of a head that RoPE rotates; pairs are (p, p + rotaryDim / 2). */
  readonly rotaryDim: number;
}

/** Columns of a layer that are still believable; codecs allocate for each, before any array of the artifact tells that there are fewer. */
const MAXIMUM_COLUMNS = 2 ** 20;

/** Throws INVALID_ARGUMENT for sizes that no cache has. */
function checkGeometry({ kvHeads, headDim, rotaryDim }: Geometry): void {
  checkInteger("kvHeads", kvHeads, { minimum: 1 });
  checkInteger("headDim", headDim, { minimum: 8, maximum: 65_536 });
  check(kvHeads * headDim <= MAXIMUM_COLUMNS, "kvHeads * headDim", `at most ${MAXIMUM_COLUMNS}`, kvHeads * headDim);
  check(headDim % 8 === 0, "headDim", "a multiple of 8", headDim);
  checkInteger("rotaryDim", rotaryDim, { minimum: 2, maximum: headDim });
  check(rotaryDim % 2 === 0, "rotaryDim", "an even number", rotaryDim);
}

/**
 * Channel within the head of each code index `[headDim]`: code `2p + h` is channel `p + h * rotaryDim / 2`, and channels from
 * `rotaryDim` on keep their number.
 */
export function channelOfCode({ headDim, rotaryDim }: Geometry): Uint16Array {
  return Uint16Array.from(halfToInterleaved(headDim, rotaryDim));
}

/** Geometry as an artifact array `[kvHeads, headDim, rotaryDim]`. */
export function encodeGeometry({ kvHeads, headDim, rotaryDim }: Geometry): Float32Array {
  return Float32Array.of(kvHeads, headDim, rotaryDim);
}

/**
 * Reads what `encodeGeometry` wrote.
 * @throws CORRUPT_DATA
 */
export function decodeGeometry(artifact: QuantizerArtifact): Geometry {
  const [kvHeads, headDim, rotaryDim] = artifact.arrays.geometry ?? [];
  if (kvHeads === undefined || headDim === undefined || rotaryDim === undefined) throw corrupt(`artifact ${artifact.id}`, "an array geometry of 3 numbers", artifact.arrays.geometry);
  const geometry = { kvHeads, headDim, rotaryDim };
  try {
    checkGeometry(geometry);
  } catch (error) {
    throw corrupt(`artifact ${artifact.id}: geometry`, "sizes of a cache", [kvHeads, headDim, rotaryDim], error);
  }
  return geometry;
}
