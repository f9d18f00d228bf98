/** What whole steps are timed on: a loaded model, or one of random weights. */

import type { NativeKvCache, NativeModel } from "@kvquant/cpu";
import { throwIfAborted } from "./throw-if-aborted.js";

/** Packed weights and embeddings; `NativeEngine` is one. */
export interface StepModel {
  /** Such as `native-avx512`. */
  readonly id: string;
  readonly native: NativeModel;
  /** Embeddings `[tokens, width]`. */
  embeddings(tokens: ArrayLike<number>): Float32Array;
}

/** Tokens of one prefill step, as in the native engine. */
const prefillRows = 512;

/** Appends tokens to a cache, with the logits of the last one, as a prompt is read. */
export async function prefill(model: StepModel, cache: NativeKvCache, tokens: ArrayLike<number>, signal: AbortSignal): Promise<void> {
  const logits = new Float32Array(model.native.shape.vocabulary);
  for (let first = 0; first < tokens.length; first += prefillRows) {
    throwIfAborted(signal);
    const rows = Math.min(prefillRows, tokens.length - first);
    const embeddings = model.embeddings(Array.prototype.slice.call(tokens, first, first + rows) as number[]);
    const last = first + rows === tokens.length ? { logitRows: Uint32Array.of(rows - 1), logits } : {};
    await model.native.step({ sequences: [{ cache, rows }], embeddings, signal, ...last });
  }
}

/** One greedy token for every sequence in one native step; `tokens`, the newest of each, becomes the next. */
export async function decodeStep(model: StepModel, caches: readonly NativeKvCache[], tokens: Uint32Array, logits: Float32Array): Promise<void> {
  const { vocabulary } = model.native.shape;
  await model.native.step({
    sequences: caches.map((cache) => ({ cache, rows: 1 })),
    embeddings: model.embeddings(tokens),
    logitRows: tokens.map((_, row) => row),
    logits,
  });
  for (let row = 0; row < tokens.length; row++) tokens[row] = likeliest(logits.subarray(row * vocabulary, (row + 1) * vocabulary));
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let token = 1; token < logits.length; token++) if (logits[token]! > logits[best]!) best = token;
  return best;
}
