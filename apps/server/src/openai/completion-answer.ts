/** The answer of `/v1/completions`. */

import type { Tokenizer } from "@kvquant/model";
import { finishReason } from "./answer-format.js";
import type { AnswerFormat, ChoiceWriter } from "./answer-format.js";
import { tokenDisplay } from "./token-display.js";

/** What an answer depends on. */
export interface CompletionAnswerOptions {
  readonly id: string;
  readonly model: string;
  readonly created: number;
  readonly tokenizer: Tokenizer;
  readonly logprobs: boolean;
  /** Text put before choice `index`, when the prompt is echoed. */
  readonly echo: (index: number) => string;
}

/** Writes text completions. */
export function completionAnswer(options: CompletionAnswerOptions): AnswerFormat {
  const head = { id: options.id, object: "text_completion", created: options.created, model: options.model, system_fingerprint: null };
  return {
    choice: (index) => completionChoice(index, options),
    body: (choices, usage) => ({ ...head, choices, usage }),
    chunk: (choices, usage) => ({ ...head, choices, ...(usage !== undefined && { usage }) }),
  };
}

/** Log-probabilities in the form of `/v1/completions`. */
interface WireLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: number[];
  readonly top_logprobs: Record<string, number>[];
  /** Where each token's text begins in the answer, in UTF-16 units. */
  readonly text_offset: number[];
}

const emptyLogprobs = (): WireLogprobs => ({ tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] });

function completionChoice(index: number, { tokenizer, logprobs, echo }: CompletionAnswerOptions): ChoiceWriter {
  const all = emptyLogprobs();
  let text = echo(index);
  let offset = text.length;
  let reason: string | null = null;
  const choice = (piece: string, scores: WireLogprobs | null): object => ({ index, text: piece, logprobs: scores, finish_reason: reason });
  return {
    start: () => (text === "" ? [] : [choice(text, null)]),
    token(part) {
      text += part.text;
      const scores = logprobs && part.logprob !== undefined ? emptyLogprobs() : null;
      if (scores !== null) {
        const shown = tokenDisplay(tokenizer, part.token);
        for (const list of [scores, all]) {
          list.tokens.push(shown);
          list.token_logprobs.push(part.logprob!);
          list.top_logprobs.push(Object.fromEntries((part.top ?? []).map((entry) => [tokenDisplay(tokenizer, entry.token), entry.logprob])));
          list.text_offset.push(offset);
        }
        offset += shown.length;
      }
      return part.text === "" && scores === null ? [] : [choice(part.text, scores)];
    },
    finish(part) {
      text += part.text;
      reason = finishReason(part.reason);
      return [choice(part.text, null)];
    },
    whole: () => choice(text, logprobs ? all : null),
  };
}
