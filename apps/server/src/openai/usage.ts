/** What a request took, as clients see it. */

import type { Usage } from "@kvquant/engine";

/** OpenAI's usage, and what this server adds under `kvquant`. */
export interface WireUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: 0 };
  readonly kvquant: {
    /** From submission to the first token of any choice. */
    readonly first_token_seconds: number;
    readonly seconds: number;
    /** Bytes of all choices' caches at their ends, and what fp16 takes for as many tokens. */
    readonly cache_bytes: number;
    readonly fp16_bytes: number;
    readonly preemptions: number;
  };
}

/** Usage of one choice. */
export interface ChoiceUsage {
  /** Which prompt it answers: a prompt is counted once, whatever the number of answers. */
  readonly prompt: number;
  readonly usage: Usage;
}

/** The sum of all choices. */
export function sumUsage(choices: readonly ChoiceUsage[]): WireUsage {
  const first = choices.filter(({ prompt }, index) => choices.findIndex((other) => other.prompt === prompt) === index);
  const sum = (list: readonly ChoiceUsage[], read: (usage: Usage) => number): number => list.reduce((total, { usage }) => total + read(usage), 0);
  const promptTokens = sum(first, ({ promptTokens }) => promptTokens);
  const completionTokens = sum(choices, ({ completionTokens }) => completionTokens);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: sum(first, ({ cachedTokens }) => cachedTokens) },
    completion_tokens_details: { reasoning_tokens: 0 },
    kvquant: {
      first_token_seconds: Math.min(...choices.map(({ usage }) => usage.firstTokenSeconds)),
      seconds: Math.max(...choices.map(({ usage }) => usage.seconds)),
      cache_bytes: sum(choices, ({ cacheBytes }) => cacheBytes),
      fp16_bytes: sum(choices, ({ fp16Bytes }) => fp16Bytes),
      preemptions: sum(choices, ({ preemptions }) => preemptions),
    },
  };
}
