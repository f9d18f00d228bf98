/** How a model's conversations become prompts. */

import { applyChatTemplate } from "@kvquant/model";
import type { ChatMessage, Tokenizer } from "@kvquant/model";
import { controlTokens, createControlGuard } from "./control-guard.js";
import { plainStops, plainTemplate } from "./plain-template.js";

/** Turns conversations of one model into tokens. */
export interface ChatFormat {
  /** Where the template comes from. */
  readonly template: "model" | "configured" | "plain";
  /** Whether the template has a place for tools. */
  readonly takesTools: boolean;
  /** How the model writes calls: `<tool_call>{"name": ..., "arguments": ...}</tool_call>`, or undefined when that is not known. */
  readonly callFormat: "tagged-json" | undefined;
  /** Stop strings the template needs besides the model's end tokens. */
  readonly stops: readonly string[];
  /**
   * Token ids of a conversation, with the start of the assistant's turn. Control tokens come from the template alone: those that a message, a
   * name or a tool's description writes out stay ordinary text.
   * @throws UNSUPPORTED when the template refuses the messages
   */
  encode(messages: readonly ChatMessage[], tools?: readonly unknown[]): Int32Array;
}

/** The format of a tokenizer. @param configured a Jinja template that replaces the model's, or `plain` */
export function createChatFormat(tokenizer: Tokenizer, configured?: string): ChatFormat {
  const origin = configured === "plain" || (configured === undefined && tokenizer.chatTemplate === undefined) ? "plain" : configured === undefined ? "model" : "configured";
  const chatTemplate = { plain: plainTemplate, model: tokenizer.chatTemplate ?? plainTemplate, configured: configured ?? plainTemplate }[origin];
  const source: Tokenizer = { ...tokenizer, chatTemplate };
  const control = controlTokens(tokenizer.special.map((id) => tokenizer.tokenText(id) ?? ""));
  return {
    template: origin,
    takesTools: /\btools\b/.test(chatTemplate),
    callFormat: chatTemplate.includes("<tool_call>") ? "tagged-json" : undefined,
    stops: origin === "plain" ? plainStops : [],
    encode(messages, tools) {
      const guard = createControlGuard(control, [messages, tools]);
      const rendered = applyChatTemplate(source, guard.hide(messages), tools === undefined ? {} : { tools: guard.hide(tools) });
      if (guard.clean) return tokenizer.encode(rendered, { addSpecial: false });
      const pieces = guard.split(rendered).map(({ kind, text }) => tokenizer.encode(text, { addSpecial: false, parseSpecial: kind === "control" }));
      return Int32Array.from(pieces.flatMap((piece) => [...piece]));
    },
  };
}
