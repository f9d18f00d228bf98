/** Streams one generated text and measures it. */

import type { KvCache } from "@kvquant/cache";
import { generate } from "@kvquant/model";
import type { GenerateOptions, LanguageModel } from "@kvquant/model";

/** A finished generation. */
export interface Answer {
  readonly text: string;
  readonly tokens: readonly number[];
  /** Why it ended: the model's end token, a stop string, or the token limit. */
  readonly finish: "end" | "stop" | "length";
  /** Seconds to the first token, the prompt included. */
  readonly firstTokenSeconds: number;
  /** Tokens a second after the first one; 0 when there is only one. */
  readonly tokensPerSecond: number;
}

/** Generates after `prompt`, handing each piece of text to `onText` as soon as it is certain. */
export async function writeAnswer(
  model: LanguageModel,
  cache: KvCache,
  options: GenerateOptions & { readonly prompt: ArrayLike<number>; readonly onText: (text: string) => void },
): Promise<Answer> {
  const started = performance.now();
  let firstAt = started;
  let text = "";
  let finish: Answer["finish"] = "length";
  const tokens: number[] = [];
  for await (const step of generate(model, cache, options.prompt, options)) {
    if (tokens.length === 0) firstAt = performance.now();
    tokens.push(step.token);
    text += step.text;
    if (step.text !== "") options.onText(step.text);
    if (step.finish !== undefined) finish = step.finish;
  }
  const seconds = (performance.now() - firstAt) / 1000;
  return { text, tokens, finish, firstTokenSeconds: (firstAt - started) / 1000, tokensPerSecond: tokens.length < 2 ? 0 : (tokens.length - 1) / seconds };
}
