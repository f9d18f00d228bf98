/** Turns a conversation into the text a model was trained on. */

import { KvquantError } from "@kvquant/spec";
import { renderTemplate } from "./render-template.js";
import type { Tokenizer } from "./tokenizer.js";

/** A call of a function that an earlier turn of the assistant made, as templates read it. */
export interface ChatToolCall {
  readonly id?: string;
  readonly type: "function";
  /** `arguments` as an object, which templates write in their own form. */
  readonly function: { readonly name: string; readonly arguments: unknown };
}

/** One message of a conversation. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  readonly name?: string;
  readonly tool_calls?: readonly ChatToolCall[];
  /** The call that a message of a tool answers. */
  readonly tool_call_id?: string;
}

/** Options of {@link applyChatTemplate}. */
export interface ChatTemplateOptions {
  /** Ends with the start of the assistant's turn, default true. */
  readonly addGenerationPrompt?: boolean;
  /** JSON Schema descriptions of functions, for templates that have a place for them; others leave them out. */
  readonly tools?: readonly unknown[];
}

/**
 * Text of a conversation by the model's own Jinja template. It holds its own BOS where the model wants one: encode it with `addSpecial: false`.
 * @throws UNSUPPORTED when the model has no template, or the template fails, runs for more than a second or writes far more than it was given
 */
export function applyChatTemplate(tokenizer: Tokenizer, messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
  if (tokenizer.chatTemplate === undefined) throw new KvquantError("UNSUPPORTED", "applyChatTemplate: expected a model with a chat template, got one without; give it plain text");
  const eos = tokenizer.eos.length === 0 ? undefined : tokenizer.tokenText(tokenizer.eos[0]!);
  try {
    return renderTemplate(tokenizer.chatTemplate, {
      messages: messages.map((message) => ({ ...message })),
      add_generation_prompt: options.addGenerationPrompt ?? true,
      ...(options.tools !== undefined && { tools: [...options.tools] }),
      bos_token: tokenizer.bos === undefined ? "" : (tokenizer.tokenText(tokenizer.bos) ?? ""),
      eos_token: eos ?? "",
    });
  } catch (cause) {
    throw new KvquantError("UNSUPPORTED", `applyChatTemplate: expected a template that renders these messages, got ${(cause as Error).message}`, { cause });
  }
}
