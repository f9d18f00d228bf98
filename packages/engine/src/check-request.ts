/** Checks a request and fills in what it leaves out. */

import { checkContext, checkSampling } from "@kvquant/model";
import type { LanguageModel, Sampling } from "@kvquant/model";
import { check, checkInteger } from "@kvquant/spec";

import type { GenerationRequest, Splice } from "./generation.js";

/** Most likely tokens that can be reported with each token. */
const MOST_LOGPROBS = 20;
const SESSION_ID = /^[\x21-\x7e]{1,100}$/;

/** A request without gaps. */
export interface CheckedRequest {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly sampling: Sampling;
  readonly seed: number;
  readonly stop: readonly string[];
  readonly stopTokens: readonly number[];
  readonly stopAtEnd: boolean;
  readonly logprobs: number | undefined;
  readonly session: string | undefined;
  readonly reuse: boolean;
  readonly splice: Splice | undefined;
  /** Computes the prompt, leaves its cache, and ends: no token is chosen. */
  readonly prefillOnly: boolean;
}

/** @throws INVALID_ARGUMENT */
export function checkRequest(request: GenerationRequest, model: LanguageModel, defaults: { readonly prefixReuse: boolean }): CheckedRequest {
  const { vocabulary } = model.config;
  const prompt = checkTokens("prompt", request.prompt, vocabulary);
  check(prompt.length > 0, "prompt", "at least one token", "none");
  checkInteger("maxTokens", request.maxTokens, { minimum: 1 });
  // The last token chosen is not read. Steps of a batch do not go through the model's own check.
  checkContext(model.config, prompt.length + request.maxTokens - 1);
  const sampling = request.sampling ?? {};
  checkSampling(sampling, vocabulary);
  const { seed = 0, stop = [], stopTokens = [], stopAtEnd = true, logprobs, session, splice } = request;
  checkInteger("seed", seed, { minimum: Number.MIN_SAFE_INTEGER });
  for (const text of stop) check(typeof text === "string", "stop", "strings", typeof text);
  checkTokens("stopTokens", stopTokens, vocabulary);
  if (logprobs !== undefined) checkInteger("logprobs", logprobs, { minimum: 0, maximum: MOST_LOGPROBS });
  if (session !== undefined) checkSessionId(session);
  if (splice !== undefined) {
    const document = checkTokens("splice.document", splice.document, vocabulary);
    checkInteger("splice.at", splice.at, { minimum: 1, maximum: prompt.length - document.length });
    check(document.every((token, index) => prompt[splice.at + index] === token), "splice.document", "the prompt's own tokens from splice.at on", "others");
    check(session === undefined, "splice", "no session: what is spliced is an approximation and is not kept", session);
  }
  return { prompt, maxTokens: request.maxTokens, sampling, seed, stop, stopTokens: Array.from(stopTokens), stopAtEnd, logprobs, session, reuse: request.prefixReuse ?? defaults.prefixReuse, splice, prefillOnly: false };
}

/** @throws INVALID_ARGUMENT */
export function checkSessionId(id: string): void {
  check(SESSION_ID.test(id), "session", "1 to 100 visible ASCII characters", JSON.stringify(id));
}

/** The tokens as a plain array. @throws INVALID_ARGUMENT */
function checkTokens(what: string, tokens: ArrayLike<number>, vocabulary: number): number[] {
  const list = Array.from(tokens);
  for (const token of list) checkInteger(what, token, { minimum: 0, maximum: vocabulary - 1 });
  return list;
}
