/** Turns what the user typed into tokens. */

import { applyChatTemplate } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import { UsageError } from "./usage-error.js";

/** A prompt, as text to go on from or as a message to answer. */
export interface PromptOptions {
  readonly prompt: string;
  readonly chat?: boolean | undefined;
  /** Needs `chat`. */
  readonly system?: string | undefined;
}

/**
 * Tokens of a prompt; never none.
 * @throws UsageError for an empty prompt, or a system message without a chat
 */
export function encodePrompt(model: LanguageModel, options: PromptOptions): Int32Array {
  if (options.prompt === "") throw new UsageError("--prompt: expected some text, got none");
  if (options.chat !== true) {
    if (options.system !== undefined) throw new UsageError("--system: expected --chat beside it, got none; a plain prompt has no system message");
    return model.tokenizer.encode(options.prompt);
  }
  const system = options.system === undefined ? [] : [{ role: "system" as const, content: options.system }];
  const text = applyChatTemplate(model.tokenizer, [...system, { role: "user", content: options.prompt }]);
  return model.tokenizer.encode(text, { addSpecial: false });
}
