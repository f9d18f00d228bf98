/** A block of reference distributions prepared once and compared with many others. */

import { exponentiate } from "./exponentiate.js";
import { klDivergence } from "./kl-divergence.js";

/** Rows of reference log-probabilities with what every comparison needs of them. Owned by its maker, refilled for each block. */
export interface ReferenceBlock {
  readonly vocabulary: number;
  /** Rows filled. */
  readonly rows: number;
  /** `[rows, vocabulary]` */
  readonly logProbabilities: Float32Array;
  /** exp of the above, `[rows, vocabulary]`, rounded to float32. */
  readonly probabilities: Float32Array;
  /** Sum of p log p of each row, `[rows]`: minus the entropy, in nats. */
  readonly negativeEntropy: Float64Array;
  /** Most likely token of each row, the lowest index among equals, `[rows]`. */
  readonly top: Int32Array;
  /** Copies `rows` rows of log-probabilities in and derives the rest. @throws RangeError for more rows than the capacity or a short array */
  fill(logProbabilities: Float32Array, rows: number): void;
}

/** One row's comparison, written by `compareRow` into a reused object. */
export interface RowComparison {
  /** KL(reference || other), nats. */
  divergence: number;
  /** True when the reference's most likely token is a most likely token of the other too. */
  agrees: boolean;
}

/** A block with room for `capacity` rows. */
export function createReferenceBlock(capacity: number, vocabulary: number): ReferenceBlock {
  const logProbabilities = new Float32Array(capacity * vocabulary);
  const probabilities = new Float32Array(capacity * vocabulary);
  const negativeEntropy = new Float64Array(capacity);
  const top = new Int32Array(capacity);
  let filled = 0;
  return {
    vocabulary,
    get rows() {
      return filled;
    },
    logProbabilities,
    probabilities,
    negativeEntropy,
    top,
    fill(source, rows) {
      if (!(rows >= 0 && rows <= capacity && source.length >= rows * vocabulary)) {
        throw new RangeError(`fill: expected at most ${capacity} rows of ${vocabulary}, got ${rows} rows in ${source.length} values`);
      }
      logProbabilities.set(source.subarray(0, rows * vocabulary));
      for (let row = 0; row < rows; row++) {
        const offset = row * vocabulary;
        exponentiate(logProbabilities, probabilities, offset, vocabulary);
        top[row] = largest(logProbabilities, offset, vocabulary);
        negativeEntropy[row] = dot(probabilities, logProbabilities, offset, vocabulary);
      }
      filled = rows;
    },
  };
}

/**
 * Compares row `row` of `other` `[rows, vocabulary]` with the same row of the block, without allocating.
 * The divergence is `sum p log p - sum p log q`, both with the same float32 p in float64 sums.
 */
export function compareRow(block: ReferenceBlock, other: Float32Array, row: number, out: RowComparison): RowComparison {
  const vocabulary = block.vocabulary;
  const offset = row * vocabulary;
  const end = offset + vocabulary;
  let divergence = block.negativeEntropy[row]! - dot(block.probabilities, other, offset, vocabulary);
  // 0 * -Infinity above: a token of probability 0, which the plain definition leaves out.
  if (divergence !== divergence) divergence = klDivergence(block.logProbabilities.subarray(offset, end), other.subarray(offset, end));
  out.divergence = divergence;
  out.agrees = !anyAbove(other, offset, end, other[offset + block.top[row]!]!);
  return out;
}

/** Index of the largest of `count` entries from `offset`, relative to `offset`; the lowest among equals. */
function largest(values: Float32Array, offset: number, count: number): number {
  let best = -Infinity;
  let bestIndex = 0;
  for (let index = 0; index < count; index++) {
    const value = values[offset + index]!;
    if (value > best) {
      best = value;
      bestIndex = index;
    }
  }
  return bestIndex;
}

/** Sum of a * b over `count` entries from `offset` in float64; four sums, so that additions need not wait for each other. */
function dot(a: Float32Array, b: Float32Array, offset: number, count: number): number {
  let sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
  const unrolled = offset + count - (count & 3);
  for (let index = offset; index < unrolled; index += 4) {
    sum0 += a[index]! * b[index]!;
    sum1 += a[index + 1]! * b[index + 1]!;
    sum2 += a[index + 2]! * b[index + 2]!;
    sum3 += a[index + 3]! * b[index + 3]!;
  }
  for (let index = unrolled; index < offset + count; index++) sum0 += a[index]! * b[index]!;
  return sum0 + sum1 + (sum2 + sum3);
}

function anyAbove(values: Float32Array, start: number, end: number, limit: number): boolean {
  for (let index = start; index < end; index++) if (values[index]! > limit) return true;
  return false;
}
