/** Control tokens that end a turn or a text in the model families people load. */

const END_TOKENS: ReadonlySet<string> = new Set([
  "<|endoftext|>",
  "<|im_end|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|end_of_text|>",
  "<|end|>",
  "<|return|>",
  "<end_of_turn>",
  "<EOT>",
  "</s>",
]);

/** The ids given (undefined ones dropped) in their order, then special tokens known to end a turn; each once. */
export function endTokens(given: readonly (number | undefined)[], special: Iterable<readonly [id: number, content: string]>): readonly number[] {
  const ids = new Set(given.filter((id) => id !== undefined));
  for (const [id, content] of special) if (END_TOKENS.has(content)) ids.add(id);
  return [...ids];
}
