/** Turns logits of one sequence into tokens and text: sampling, stops, decoding. Touches no other sequence. */

import { createRandom, logProbabilitiesOf, sampleToken, StopText } from "@kvquant/model";
import type { StreamDecoder, Tokenizer } from "@kvquant/model";

import type { TokenPart } from "./generation.js";
import type { CheckedRequest } from "./check-request.js";

/** What a row of logits led to. */
export interface Continued {
  readonly part: TokenPart;
  /** Set with the last token. */
  readonly finish?: { readonly reason: "end" | "stop" | "length"; readonly text: string };
}

/** The random state, the history and the text of one sequence. */
export interface Continuation {
  /** Chooses the next token from logits `[vocabulary]`. */
  next(logits: Float32Array): Continued;
}

/** Starts at the end of the request's prompt. */
export function createContinuation(request: CheckedRequest, tokenizer: Tokenizer): Continuation {
  const random = createRandom(request.seed);
  const decoder: StreamDecoder = tokenizer.streamDecoder();
  const stops = new StopText(request.stop);
  const present = new Set<number>(request.prompt);
  const generated = new Map<number, number>();
  const ends = new Set([...request.stopTokens, ...(request.stopAtEnd ? tokenizer.eos : [])]);
  let index = 0;
  return {
    next(logits) {
      const token = sampleToken(logits, request.sampling, random, { present, generated });
      present.add(token);
      generated.set(token, (generated.get(token) ?? 0) + 1);
      const isEnd = ends.has(token);
      const piece = isEnd ? { text: "", stopped: false } : stops.push(decoder.push(token));
      const part: TokenPart = { type: "token", token, text: piece.text, index: index++, ...probabilities(request, logits, token) };
      if (piece.stopped) return { part, finish: { reason: "stop", text: "" } };
      if (!isEnd && index < request.maxTokens) return { part };
      const rest = stops.end(decoder.end());
      return { part, finish: { reason: rest.stopped ? "stop" : isEnd ? "end" : "length", text: rest.text } };
    },
  };
}

function probabilities({ logprobs }: CheckedRequest, logits: Float32Array, token: number): Partial<TokenPart> {
  return logprobs === undefined ? {} : logProbabilitiesOf(logits, token, logprobs);
}
