/** Weighted k-means. */

import { check, checkFinite, checkInteger, checkLength } from "@kvquant/spec";
import { randomUniform } from "../numeric/random-uniform.js";

/** Points to cluster. */
export interface WeightedVectors {
  /** `[count, dim]` */
  readonly points: Float32Array;
  /** `[count]`, none negative, not all zero. */
  readonly weights: Float64Array;
  readonly dim: number;
}

/** Settings of `fitCentroids`. */
export interface CentroidOptions {
  readonly centroids: number;
  readonly seed: number;
  /** Most passes of Lloyd's iteration; default 16. It stops before when no point changes its centroid. */
  readonly iterations?: number;
}

/**
 * Centroids `[centroids, dim]` at a local minimum of the weighted squared distance of points to their nearest centroid. Starting centroids are points drawn
 * with probability proportional to weight times squared distance to those drawn before; a centroid without points stays where it is. Deterministic.
 * Source: Lloyd 1982; Arthur and Vassilvitskii 2007, "k-means++".
 * @throws INVALID_ARGUMENT
 */
export function fitCentroids(vectors: WeightedVectors, { centroids, seed, iterations = 16 }: CentroidOptions): Float32Array {
  const { points, weights, dim } = vectors;
  checkInteger("fitCentroids: dim", dim, { minimum: 1 });
  checkInteger("fitCentroids: centroids", centroids, { minimum: 1 });
  checkLength("fitCentroids: points", points, weights.length * dim);
  checkFinite("fitCentroids: points", points);
  check(weights.every((weight) => weight >= 0 && weight < Infinity) && weights.some((weight) => weight > 0), "fitCentroids: weights", "finite numbers of at least 0, one of them above", "others");
  const means = drawCentroids(vectors, centroids, randomUniform(seed));
  const nearest = new Int32Array(weights.length).fill(-1);
  for (let iteration = 0; iteration < iterations; iteration++) {
    let changed = false;
    for (let point = 0; point < weights.length; point++) {
      const best = nearestCentroid(means, dim, points, point * dim);
      if (best !== nearest[point]) changed = true;
      nearest[point] = best;
    }
    if (!changed) break;
    moveCentroids(vectors, nearest, means);
  }
  return means;
}

/** Index of the centroid nearest to `points[from .. from + dim)`; ties to the lower index. */
export function nearestCentroid(centroids: Float32Array, dim: number, points: Float32Array, from: number): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let start = 0, index = 0; start < centroids.length; start += dim, index++) {
    let sum = 0;
    for (let i = 0; i < dim; i++) {
      const difference = points[from + i]! - centroids[start + i]!;
      sum += difference * difference;
    }
    if (sum < least) {
      least = sum;
      best = index;
    }
  }
  return best;
}

function drawCentroids({ points, weights, dim }: WeightedVectors, centroids: number, random: () => number): Float32Array {
  const means = new Float32Array(centroids * dim);
  const distances = new Float64Array(weights.length).fill(1);
  for (let index = 0; index < centroids; index++) {
    const point = drawPoint(weights, distances, random());
    means.set(points.subarray(point * dim, (point + 1) * dim), index * dim);
    for (let other = 0; other < weights.length; other++) {
      let sum = 0;
      for (let i = 0; i < dim; i++) sum += (points[other * dim + i]! - means[index * dim + i]!) ** 2;
      distances[other] = index === 0 ? sum : Math.min(distances[other]!, sum);
    }
  }
  return means;
}

/** The point at which the running sum of weight times distance passes `share` of the total; the first of positive weight when that is zero. */
function drawPoint(weights: Float64Array, distances: Float64Array, share: number): number {
  let total = 0;
  for (let point = 0; point < weights.length; point++) total += weights[point]! * distances[point]!;
  let rest = share * total;
  let last = weights.findIndex((weight) => weight > 0);
  for (let point = 0; point < weights.length; point++) {
    const part = weights[point]! * distances[point]!;
    if (part === 0) continue;
    last = point;
    rest -= part;
    if (rest < 0) break;
  }
  return last;
}

function moveCentroids({ points, weights, dim }: WeightedVectors, nearest: Int32Array, means: Float32Array): void {
  const sums = new Float64Array(means.length);
  const totals = new Float64Array(means.length / dim);
  for (let point = 0; point < weights.length; point++) {
    const centroid = nearest[point]!;
    totals[centroid]! += weights[point]!;
    for (let i = 0; i < dim; i++) sums[centroid * dim + i]! += weights[point]! * points[point * dim + i]!;
  }
  for (let index = 0; index < means.length; index++) {
    const total = totals[Math.floor(index / dim)]!;
    if (total > 0) means[index] = sums[index]! / total;
  }
}
