/** What a request asks of the engine. */

import { randomInt } from "node:crypto";
import type { GenerationRequest } from "@kvquant/engine";
import type { Sampling } from "@kvquant/model";
import type { ServedModel } from "../models/served-model.js";
import { ApiError } from "./api-error.js";
import type { SharedFields } from "./request-fields.js";

/** Everything but the prompt and what ends the request from outside. */
export type GenerationOptions = Omit<GenerationRequest, "prompt" | "maxTokens" | "signal"> & {
  /** As asked; undefined: what the context leaves. */
  readonly maxTokens: number | undefined;
};

/** Options of choice `choice` of a request: each has a seed of its own, the first one the seed asked for. */
export function generationOptions(fields: SharedFields, model: ServedModel): (choice: number) => GenerationOptions {
  const sampling: Sampling = {
    temperature: fields.temperature ?? 1,
    topP: fields.top_p ?? 1,
    topK: fields.top_k ?? 0,
    minP: fields.min_p ?? 0,
    repetitionPenalty: fields.repetition_penalty ?? 1,
    ...(fields.presence_penalty !== undefined && { presencePenalty: fields.presence_penalty }),
    ...(fields.frequency_penalty !== undefined && { frequencyPenalty: fields.frequency_penalty }),
    ...(fields.logit_bias !== undefined && { logitBias: readBias(fields.logit_bias, model.vocabulary) }),
  };
  const seed = fields.seed ?? randomInt(2 ** 31);
  const stop = fields.stop === undefined ? [] : typeof fields.stop === "string" ? [fields.stop] : fields.stop;
  return (choice) => ({
    maxTokens: fields.max_tokens,
    sampling,
    seed: seed + choice,
    stop,
    ...(fields.ignore_eos === true && { stopAtEnd: false }),
    ...(fields.session !== undefined && choice === 0 && { session: fields.session }),
    ...(fields.prefix_reuse !== undefined && { prefixReuse: fields.prefix_reuse }),
  });
}

function readBias(given: Readonly<Record<string, number>>, vocabulary: number): ReadonlyMap<number, number> {
  const bias = new Map(Object.entries(given).map(([id, value]) => [Number(id), value]));
  const outside = [...bias.keys()].find((id) => id >= vocabulary);
  if (outside !== undefined) throw new ApiError(400, `logit_bias: expected token ids below ${vocabulary}, got ${outside}`, { param: "logit_bias" });
  return bias;
}

/**
 * Most tokens of an answer to a prompt of `promptTokens`. @param options `param`: the field that the prompt came in
 * @throws ApiError 400 `context_length_exceeded` with the numbers
 */
export function answerTokens(model: ServedModel, promptTokens: number, { asked, param }: { readonly asked: number | undefined; readonly param: string }): number {
  const room = model.contextLimit - promptTokens;
  if (room < 1 || (asked !== undefined && asked > room)) {
    const answer = asked === undefined ? "" : ` and ${asked} of the answer`;
    throw new ApiError(400, `model ${model.name}: expected at most ${model.contextLimit} tokens of prompt and answer, got ${promptTokens} of the prompt${answer}; shorten it or ask for less`, { code: "context_length_exceeded", param });
  }
  return asked ?? room;
}
