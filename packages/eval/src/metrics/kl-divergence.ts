/** Kullback-Leibler divergence between two distributions given as log-probabilities. */

/**
 * KL(P || Q) in nats: the sum of `exp(logP) * (logP - logQ)` over `count` entries from `offset`, in float64.
 * An entry of probability 0 in P adds nothing; one that Q rules out and P does not makes the result Infinity.
 * @param logP natural log-probabilities, normalised, `[..., vocabulary]`
 * @param logQ natural log-probabilities at the same offsets
 * @param offset first entry, default 0
 * @param count entries, default all from `offset` on
 * @throws RangeError when the range leaves either array
 */
export function klDivergence(logP: Float32Array, logQ: Float32Array, offset = 0, count = logP.length - offset): number {
  if (!(offset >= 0 && count >= 0 && offset + count <= logP.length && offset + count <= logQ.length)) {
    throw new RangeError(`klDivergence: expected entries ${offset} to ${offset + count} in both arrays, got lengths ${logP.length} and ${logQ.length}`);
  }
  let sum = 0;
  for (let index = offset; index < offset + count; index++) {
    const p = logP[index]!;
    if (p !== -Infinity) sum += Math.exp(p) * (p - logQ[index]!);
  }
  return sum;
}
