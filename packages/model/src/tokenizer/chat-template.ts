/** Turns a conversation into the text a model was trained on. */

import { Template } from "@huggingface/jinja";
import { KvquantError } from "@kvquant/spec";
import type { Tokenizer } from "./tokenizer.js";

/** One message of a conversation. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
}

/**
 * Text of a conversation by the model's own Jinja template. It holds its own BOS where the model wants one: encode it with `addSpecial: false`.
 * @param options `addGenerationPrompt` (default true) ends with the start of the assistant's turn
 * @throws UNSUPPORTED when the model has no template or the template fails
 */
export function applyChatTemplate(tokenizer: Tokenizer, messages: readonly ChatMessage[], options: { addGenerationPrompt?: boolean } = {}): string {
  if (tokenizer.chatTemplate === undefined) throw new KvquantError("UNSUPPORTED", "applyChatTemplate: expected a model with a chat template, got one without; give it plain text");
  const eos = tokenizer.eos.length === 0 ? undefined : tokenizer.tokenText(tokenizer.eos[0]!);
  try {
    return new Template(tokenizer.chatTemplate).render({
      messages: messages.map((message) => ({ ...message })),
      add_generation_prompt: options.addGenerationPrompt ?? true,
      bos_token: tokenizer.bos === undefined ? "" : (tokenizer.tokenText(tokenizer.bos) ?? ""),
      eos_token: eos ?? "",
    });
  } catch (cause) {
    throw new KvquantError("UNSUPPORTED", `applyChatTemplate: expected a template that renders these messages, got ${(cause as Error).message}`, { cause });
  }
}
