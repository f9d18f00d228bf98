/** Vector quantization: neighbouring channels share one code. */

import { check, KvquantError } from "@kvquant/spec";
import type { Bits, Side } from "@kvquant/spec";
import { decodeScaledHalves } from "../calibration/held-out-page.js";
import type { HeldOutPage } from "../calibration/held-out-page.js";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import { artifactArray, corrupt } from "../corrupt.js";
import type { Geometry } from "../geometry.js";
import { roundToHalves } from "../numeric/half-array.js";
import type { Quantizer } from "../quantizer.js";
import { fitCentroids, nearestCentroid } from "./fit-centroids.js";
import { pageQuantizer } from "../page-quantizer.js";
import type { PageMethod } from "../page-quantizer.js";

/** Options of `coupledChannels`. */
export interface CoupledChannelsOptions {
  readonly side: Side;
  /** Channels of one code: 2, 4 or 8 make 4, 2 or 1 bits a value. */
  readonly channels: 2 | 4 | 8;
}

const CENTROIDS = 256;
const SEED = 1;

/** Bits a value by channels of a code. */
const BITS: ReadonlyMap<number, Bits> = new Map([
  [2, 4],
  [4, 2],
  [8, 1],
]);

/**
 * Runs of `channels` neighbouring channels of a head (before RoPE) become one 8-bit code, the nearest of 256 centroids of their own, learned by k-means with
 * weights: the sum of the squared gradients of the run's values for sensitivity `fisher`, else 1. A block is its codes, token after token.
 * Statistics hold no joint distributions, so centroids are fitted to the held-out pages, 64 tokens each and at most 16 of them: few for 256 centroids
 * (the source used 16 sequences of 2,048 tokens), and what is priced on these pages afterwards is priced too low. Deterministic.
 * Array: `centroids` `[kvHeads * headDim / channels, 256, channels]`, fp16: 512 bytes a channel, the largest tables of all baselines.
 * Source: Zhang et al. 2024, "KV Cache is 1 Bit Per Channel: Efficient Large Language Model Inference with Coupled Quantization", sections 3.2 and 3.3.
 * @throws INVALID_ARGUMENT
 */
export function coupledChannels({ side, channels }: CoupledChannelsOptions): Quantizer {
  const bits = BITS.get(channels);
  check(bits !== undefined, "coupledChannels: channels", "2, 4 or 8", channels);
  return pageQuantizer({
    id: `baseline/coupled-channels-${side}s`,
    side,
    frame: "pre-rope",
    fit: (statistics) => ({ bits, packing: "linear-8", stages: [`couple:${channels}`], arrays: { channels: Float32Array.of(channels), centroids: fitLayer(statistics, side, channels) } }),
    open(artifact, geometry) {
      const [coupled] = artifactArray(artifact, "channels", 1);
      if (coupled === undefined || BITS.get(coupled) !== artifact.bits) throw corrupt(`artifact ${artifact.id}: channels`, `those of ${artifact.bits} bits`, coupled);
      return coupledMethod(artifactArray(artifact, "centroids", geometry.kvHeads * geometry.headDim * CENTROIDS), coupled, geometry);
    },
  });
}

function fitLayer({ geometry, heldOut }: LayerStatistics, side: Side, channels: number): Float32Array {
  if (heldOut.length === 0) throw new KvquantError("UNSUPPORTED", "coupled channels: expected a calibration with held-out pages, got none; calibrate with windows of more than 512 tokens after the sinks");
  const columns = geometry.kvHeads * geometry.headDim;
  const rows = joinPages(heldOut, (page) => (side === "key" ? page.keys : page.values));
  const gradients = heldOut.every((page) => page.keyGradients && page.valueGradients) ? joinPages(heldOut, (page) => (side === "key" ? page.keyGradients! : page.valueGradients!)) : undefined;
  const tokens = rows.length / columns;
  const centroids = new Float32Array(columns * CENTROIDS);
  const points = new Float32Array(tokens * channels);
  for (let first = 0; first < columns; first += channels) {
    const weights = new Float64Array(tokens);
    for (let token = 0; token < tokens; token++) {
      for (let i = 0; i < channels; i++) {
        const place = token * columns + first + i;
        points[token * channels + i] = rows[place]!;
        weights[token]! += gradients === undefined ? 1 : gradients[place]! ** 2;
      }
    }
    if (weights.every((weight) => weight === 0)) weights.fill(1);
    centroids.set(fitCentroids({ points, weights, dim: channels }, { centroids: CENTROIDS, seed: SEED }), first * CENTROIDS);
  }
  return roundToHalves(centroids);
}

function joinPages(pages: readonly HeldOutPage[], read: (page: HeldOutPage) => HeldOutPage["keys"]): Float32Array {
  const parts = pages.map((page) => decodeScaledHalves(read(page)));
  const joined = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

function coupledMethod(centroids: Float32Array, channels: number, { kvHeads, headDim }: Geometry): PageMethod {
  const runs = (kvHeads * headDim) / channels;
  const tableLength = CENTROIDS * channels;
  const tables = Array.from({ length: runs }, (_, run) => centroids.subarray(run * tableLength, (run + 1) * tableLength));
  return {
    byteLength: (tokens) => tokens * runs,
    write(x, tokens, bytes) {
      for (let index = 0; index < tokens * runs; index++) bytes[index] = nearestCentroid(tables[index % runs]!, channels, x, index * channels);
    },
    read(bytes, tokens, out) {
      for (let index = 0; index < tokens * runs; index++) {
        const from = bytes[index]! * channels;
        out.set(tables[index % runs]!.subarray(from, from + channels), index * channels);
      }
    },
  };
}
