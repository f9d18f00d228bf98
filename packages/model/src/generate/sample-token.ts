/** Chooses the next token from logits. */

import { KvquantError, check, checkInteger } from "@kvquant/spec";

import { Ranking } from "./ranking.js";

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
  /** Taken off the logit of every token generated so far; 0 changes nothing (OpenAI's `presence_penalty`). */
  readonly presencePenalty?: number | undefined;
  /** Taken off the logit of a token as often as it was generated; 0 changes nothing (OpenAI's `frequency_penalty`). */
  readonly frequencyPenalty?: number | undefined;
  /** Added to the logits of these tokens. */
  readonly logitBias?: ReadonlyMap<number, number> | undefined;
}

/** What penalties look at. */
export interface TokenHistory {
  /** Tokens of the prompt and the text so far, for the repetition penalty. */
  readonly present?: ReadonlySet<number> | undefined;
  /** How often each token was generated, for presence and frequency penalty. */
  readonly generated?: ReadonlyMap<number, number> | undefined;
}

/** Throws INVALID_ARGUMENT for values out of range; with `vocabulary`, for a biased token outside it too. */
export function checkSampling(sampling: Sampling, vocabulary = Infinity): void {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = sampling;
  check(temperature >= 0 && Number.isFinite(temperature), "temperature", "a number of at least 0", temperature);
  checkInteger("topK", topK, { minimum: 0 });
  check(topP > 0 && topP <= 1, "topP", "a number above 0 and at most 1", topP);
  check(minP >= 0 && minP < 1, "minP", "a number of at least 0 and below 1", minP);
  check(repetitionPenalty > 0 && Number.isFinite(repetitionPenalty), "repetitionPenalty", "a number above 0", repetitionPenalty);
  check(Number.isFinite(presencePenalty), "presencePenalty", "a number", presencePenalty);
  check(Number.isFinite(frequencyPenalty), "frequencyPenalty", "a number", frequencyPenalty);
  for (const [token, bias] of sampling.logitBias ?? []) {
    check(Number.isSafeInteger(token) && token >= 0 && token < vocabulary, "logitBias: token", `an id below ${vocabulary}`, token);
    check(Number.isFinite(bias), `logitBias: token ${token}`, "a number", bias);
  }
}

/**
 * Chooses a token. Filters apply in the order repetition penalty, presence and frequency penalty, bias, top-k, temperature, min-p, top-p;
 * ties go to the lower id.
 * @throws CORRUPT_DATA for logits of NaN, from which any token would follow
 */
export function sampleToken(logits: Float32Array, sampling: Sampling, random: () => number, history: TokenHistory = {}): number {
  const { temperature = 0, topK = 0, topP = 1, minP = 0 } = sampling;
  checkLogits(logits);
  const scores = adjust(logits, sampling, history);
  if (temperature === 0) return argmax(scores);
  const ranking = new Ranking(scores);
  const maximum = scores[ranking.token(0)]!;
  const weight = (place: number): number => Math.exp((scores[ranking.token(place)]! - maximum) / temperature);
  let kept = topK === 0 ? scores.length : Math.min(topK, scores.length);
  if (minP > 0) kept = countFrom(kept, (place) => weight(place) >= minP);
  let total = 0;
  if (kept === scores.length) for (let id = 0; id < scores.length; id++) total += Math.exp((scores[id]! - maximum) / temperature);
  else for (let place = 0; place < kept; place++) total += weight(place);
  if (topP < 1) {
    const nucleus = countNucleus(weight, kept, topP * total);
    kept = nucleus.count;
    total = nucleus.total;
  }
  let target = random() * total;
  for (let place = 0; place < kept; place++) {
    target -= weight(place);
    if (target < 0) return ranking.token(place);
  }
  return ranking.token(kept - 1);
}

function checkLogits(logits: Float32Array): void {
  for (let token = 0; token < logits.length; token++) {
    if (logits[token] !== logits[token]) throw new KvquantError("CORRUPT_DATA", `logits: expected numbers, got NaN for token ${token}; the model's weights or its cache are damaged, or its activations left the range of their numbers`);
  }
}

/** Index of the largest value; ties go to the lower index. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index]! > values[best]!) best = index;
  return best;
}

/** The logits with penalties and bias; the logits themselves where there are none. */
function adjust(logits: Float32Array, sampling: Sampling, { present = new Set(), generated = new Map() }: TokenHistory): Float32Array {
  const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, logitBias = new Map<number, number>() } = sampling;
  const penalised = presencePenalty !== 0 || frequencyPenalty !== 0;
  if (repetitionPenalty === 1 && !penalised && logitBias.size === 0) return logits;
  const scores = logits.slice();
  if (repetitionPenalty !== 1) for (const token of present) scores[token] = scores[token]! > 0 ? scores[token]! / repetitionPenalty : scores[token]! * repetitionPenalty;
  if (penalised) for (const [token, count] of generated) scores[token]! -= presencePenalty + frequencyPenalty * count;
  for (const [token, bias] of logitBias) scores[token]! += bias;
  return scores;
}

/** How many places from 0 on hold, at least 1 and at most `most`. */
function countFrom(most: number, holds: (place: number) => boolean): number {
  let count = 1;
  while (count < most && holds(count)) count++;
  return count;
}

/** The fewest places whose weight reaches `enough`, and their weight. */
function countNucleus(weight: (place: number) => number, count: number, enough: number): { count: number; total: number } {
  let reached = 0;
  for (let place = 0; place < count; place++) {
    reached += weight(place);
    if (reached >= enough) return { count: place + 1, total: reached };
  }
  return { count, total: reached };
}
