/** Prompts of a given number of tokens. */

import { check } from "@kvquant/spec";
import type { SuiteModel } from "./suite-model.js";

/** The noise of passkey prompts and of RULER's noise haystack. */
export const NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

/** Tokens of a text in the middle of a prompt. */
export function encodePlain(model: SuiteModel, text: string): Int32Array {
  return model.tokenizer.encode(text, { addSpecial: false, parseSpecial: false });
}

/**
 * The longest prompt `write(copies)` of at most `room` tokens, special ones included. Tokenizers join what stands side by side, so the
 * count is estimated from a few copies and then corrected.
 * @throws INVALID_ARGUMENT when not even no copies fit
 */
export function fitPrompt(model: SuiteModel, { what, room, write }: { readonly what: string; readonly room: number; readonly write: (copies: number) => string }): Int32Array {
  const encode = (copies: number): Int32Array => model.tokenizer.encode(write(copies), { parseSpecial: false });
  const empty = encode(0);
  check(empty.length <= room, `${what}: length`, `room for ${empty.length} tokens of prompt before its answer`, `${room}`);
  const perCopy = Math.max(1, (encode(8).length - empty.length) / 8);
  let copies = Math.floor((room - empty.length) / perCopy);
  let prompt = encode(copies);
  while (prompt.length > room) prompt = encode(--copies);
  for (let longer = encode(copies + 1); longer.length <= room; longer = encode(copies + 1)) {
    prompt = longer;
    copies++;
  }
  return prompt;
}
