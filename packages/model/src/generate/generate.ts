/** Generation of one sequence, token by token. */

import type { KvCache } from "@kvquant/cache";
import { check, checkInteger } from "@kvquant/spec";
import { throwIfAborted } from "../engine/throw-if-aborted.js";
import type { LanguageModel } from "../language-model.js";
import { createRandom } from "./random.js";
import { checkSampling, sampleToken } from "./sample-token.js";
import type { Sampling } from "./sample-token.js";
import { StopText } from "./stop-text.js";

/** Options of {@link generate}. */
export interface GenerateOptions {
  readonly maxTokens: number;
  readonly sampling?: Sampling | undefined;
  /** Seed of the random choices, default 0. */
  readonly seed?: number | undefined;
  /** Strings that end the text; they are not part of it. */
  readonly stop?: readonly string[] | undefined;
  /** Also stop at the model's own end tokens, default true. */
  readonly stopAtEnd?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One step of a generation. */
export interface GeneratedToken {
  readonly token: number;
  /** Text that became certain with this token; may be empty. */
  readonly text: string;
  /** 0 for the first generated token. */
  readonly index: number;
  /** Set on the last one. */
  readonly finish?: "end" | "stop" | "length";
}

/**
 * Feeds `prompt` to the cache and generates. The cache ends up with the prompt and every generated token but the last.
 * @throws INVALID_ARGUMENT for an empty prompt or sampling out of range; CANCELLED when the signal fires
 */
export async function* generate(
  model: LanguageModel,
  cache: KvCache,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, void, undefined> {
  check(prompt.length > 0, "prompt", "at least one token", "none");
  checkInteger("maxTokens", options.maxTokens, { minimum: 1 });
  const sampling = options.sampling ?? {};
  const { width, vocabulary } = model.config;
  checkSampling(sampling, vocabulary);
  const random = createRandom(options.seed ?? 0);
  const decoder = model.tokenizer.streamDecoder();
  const stops = new StopText(options.stop ?? []);
  const present = new Set<number>(Array.from(prompt));
  const generated = new Map<number, number>();
  let next: ArrayLike<number> = prompt;
  for (let index = 0; index < options.maxTokens; index++) {
    throwIfAborted(options.signal);
    const hidden = await model.forward(next, cache, { signal: options.signal });
    const logits = await model.logits(hidden.subarray(hidden.length - width), 1);
    const token = sampleToken(logits.subarray(0, vocabulary), sampling, random, { present, generated });
    present.add(token);
    generated.set(token, (generated.get(token) ?? 0) + 1);
    if (options.stopAtEnd !== false && model.tokenizer.eos.includes(token)) {
      const rest = stops.end(decoder.end());
      yield { token, text: rest.text, index, finish: rest.stopped ? "stop" : "end" };
      return;
    }
    const piece = stops.push(decoder.push(token));
    if (piece.stopped) {
      yield { token, text: piece.text, index, finish: "stop" };
      return;
    }
    if (index + 1 === options.maxTokens) {
      const rest = stops.end(decoder.end());
      yield { token, text: piece.text + rest.text, index, finish: rest.stopped ? "stop" : "length" };
      return;
    }
    yield { token, text: piece.text, index };
    next = [token];
  }
}
