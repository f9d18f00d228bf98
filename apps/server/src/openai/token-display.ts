/** Tokens as logprobs show them. */

import type { Tokenizer } from "@kvquant/model";

/** Text of one token, its leading space kept; parts of a character are U+FFFD. */
export function tokenDisplay(tokenizer: Tokenizer, id: number): string {
  const decoder = tokenizer.streamDecoder({ skipSpecial: false, continued: true });
  return decoder.push(id) + decoder.end();
}

/** UTF-8 bytes of a token's text; null for part of a character, which has no text of its own. */
export function tokenBytes(text: string): number[] | null {
  return text.includes("\ufffd") ? null : [...new TextEncoder().encode(text)];
}
