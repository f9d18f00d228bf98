/** Log-probabilities of a few tokens from a row of logits. */

/** A token and its natural log-probability. */
export interface TokenLogProbability {
  readonly token: number;
  readonly logprob: number;
}

/** The token asked for, and the likeliest ones. */
export interface LogProbabilities {
  readonly logprob: number;
  /** Likeliest first, ties to the lower id. */
  readonly top: readonly TokenLogProbability[];
}

/** Log-softmax of raw logits `[vocabulary]`, at `token` and at the `count` likeliest tokens (a few: it scans for them). */
export function logProbabilitiesOf(logits: Float32Array, token: number, count: number): LogProbabilities {
  const best: number[] = [];
  for (let id = 0; id < logits.length && count > 0; id++) {
    if (best.length === count && !(logits[id]! > logits[best[count - 1]!]!)) continue;
    if (best.length === count) best.pop();
    let place = best.length;
    while (place > 0 && logits[id]! > logits[best[place - 1]!]!) place--;
    best.splice(place, 0, id);
  }
  const normaliser = logSumExp(logits);
  return { logprob: logits[token]! - normaliser, top: best.map((id) => ({ token: id, logprob: logits[id]! - normaliser })) };
}

function logSumExp(logits: Float32Array): number {
  let maximum = -Infinity;
  for (let id = 0; id < logits.length; id++) if (logits[id]! > maximum) maximum = logits[id]!;
  let total = 0;
  for (let id = 0; id < logits.length; id++) total += Math.exp(logits[id]! - maximum);
  return maximum + Math.log(total);
}
