/** Chooses the next token from logits. */

import { check, checkInteger } from "@kvquant/spec";

/** How tokens are chosen; every field has a neutral default. */
export interface Sampling {
  /** 0 takes the most likely token; default 0. */
  readonly temperature?: number | undefined;
  /** Keeps the k most likely tokens; 0 keeps all. */
  readonly topK?: number | undefined;
  /** Keeps the smallest set of tokens whose probability reaches p; 1 keeps all. */
  readonly topP?: number | undefined;
  /** Drops tokens less likely than minP times the most likely one; 0 keeps all. */
  readonly minP?: number | undefined;
  /** Divides positive and multiplies negative logits of tokens already present; 1 changes nothing (Keskar 2019). */
  readonly repetitionPenalty?: number | undefined;
}

/** Throws INVALID_ARGUMENT for values out of range. */
export function checkSampling(sampling: Sampling): void {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = sampling;
  check(temperature >= 0 && Number.isFinite(temperature), "temperature", "a number of at least 0", temperature);
  checkInteger("topK", topK, { minimum: 0 });
  check(topP > 0 && topP <= 1, "topP", "a number above 0 and at most 1", topP);
  check(minP >= 0 && minP < 1, "minP", "a number of at least 0 and below 1", minP);
  check(repetitionPenalty > 0 && Number.isFinite(repetitionPenalty), "repetitionPenalty", "a number above 0", repetitionPenalty);
}

/**
 * Chooses a token. Filters apply in the order repetition penalty, top-k, temperature, min-p, top-p;
 * ties go to the lower id. `present` are the tokens the penalty applies to.
 */
export function sampleToken(logits: Float32Array, sampling: Sampling, random: () => number, present: ReadonlySet<number> = new Set()): number {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = sampling;
  const scores = repetitionPenalty === 1 ? logits : penalise(logits, present, repetitionPenalty);
  if (temperature === 0) return argmax(scores);
  const order = mostLikely(scores, topK === 0 ? scores.length : Math.min(topK, scores.length));
  const maximum = scores[order[0]!]!;
  const probabilities = Float64Array.from(order, (token) => Math.exp((scores[token]! - maximum) / temperature));
  let kept = probabilities.length;
  if (minP > 0) while (kept > 1 && probabilities[kept - 1]! < minP) kept--;
  if (topP < 1) kept = countNucleus(probabilities, kept, topP);
  let total = 0;
  for (let index = 0; index < kept; index++) total += probabilities[index]!;
  let target = random() * total;
  for (let index = 0; index < kept; index++) {
    target -= probabilities[index]!;
    if (target < 0) return order[index]!;
  }
  return order[kept - 1]!;
}

/** Index of the largest value; ties go to the lower index. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index]! > values[best]!) best = index;
  return best;
}

function penalise(logits: Float32Array, present: ReadonlySet<number>, penalty: number): Float32Array {
  const scores = logits.slice();
  for (const token of present) scores[token] = scores[token]! > 0 ? scores[token]! / penalty : scores[token]! * penalty;
  return scores;
}

/** Ids of the `count` largest scores, most likely first. */
function mostLikely(scores: Float32Array, count: number): Uint32Array {
  const order = Uint32Array.from({ length: scores.length }, (_, index) => index);
  order.sort((a, b) => scores[b]! - scores[a]! || a - b);
  return order.subarray(0, count);
}

function countNucleus(probabilities: Float64Array, count: number, topP: number): number {
  let total = 0;
  for (let index = 0; index < count; index++) total += probabilities[index]!;
  let reached = 0;
  for (let index = 0; index < count; index++) {
    reached += probabilities[index]!;
    if (reached >= topP * total) return index + 1;
  }
  return count;
}
