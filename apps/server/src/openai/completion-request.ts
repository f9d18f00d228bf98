/** The body of `/v1/completions`. */

import type { Tokenizer } from "@kvquant/model";
import { z } from "zod";
import { ApiError } from "./api-error.js";
import { sharedFields } from "./request-fields.js";

const promptWords = "expected a string, a list of strings, a list of token ids, or a list of such lists";
const tokens = z.array(z.int(promptWords).min(0, promptWords), promptWords).min(1, promptWords);
const logprobsWords = "expected an integer from 0 to 5";

/** What clients may send. */
export const completionRequestSchema = z.strictObject(
  {
    ...sharedFields,
    prompt: z.union([z.string(), tokens, z.array(z.string()).min(1), z.array(tokens).min(1)], promptWords),
    logprobs: z.int(logprobsWords).min(0, logprobsWords).max(5, logprobsWords).optional(),
    echo: z.boolean("expected true or false").optional(),
    best_of: z.int("expected an integer").optional(),
    suffix: z.never("expected nothing: text is only ever added at the end").optional(),
    /** Beyond OpenAI's interface: whether control tokens written out in a prompt are read as such, default true. */
    parse_special: z.boolean("expected true or false").optional(),
  },
  "expected an object",
);

/** A checked body. */
export type CompletionRequest = z.output<typeof completionRequestSchema>;

/** One prompt, as tokens and as text. */
export interface CompletionPrompt {
  readonly tokens: Int32Array;
  /** Of a prompt that came as tokens only where it is echoed. */
  readonly text: string;
}

/** The prompts of a request as they came, so that they can be counted before time is spent on them. */
export function listPrompts({ prompt }: Pick<CompletionRequest, "prompt">): readonly (string | number[])[] {
  return typeof prompt === "string" || typeof prompt[0] === "number" ? [prompt as string | number[]] : (prompt as (string | number[])[]);
}

/** The prompts of a request as tokens. @throws ApiError 400 for an empty one or ids outside the vocabulary */
export function toPrompts({ prompt, parse_special, echo }: CompletionRequest, { tokenizer, checkText }: { readonly tokenizer: Tokenizer; readonly checkText: (text: string, param: string) => void }): CompletionPrompt[] {
  return listPrompts({ prompt }).map((entry) => {
    if (typeof entry !== "string") {
      const outside = entry.find((id) => id >= tokenizer.vocabulary);
      if (outside !== undefined) throw new ApiError(400, `prompt: expected token ids below ${tokenizer.vocabulary}, got ${outside}`, { param: "prompt" });
      return { tokens: Int32Array.from(entry), text: echo === true ? tokenizer.decode(entry) : "" };
    }
    checkText(entry, "prompt");
    const encoded = tokenizer.encode(entry, { parseSpecial: parse_special !== false });
    if (encoded.length === 0) throw new ApiError(400, "prompt: expected some text, got none", { param: "prompt" });
    return { tokens: encoded, text: entry };
  });
}
