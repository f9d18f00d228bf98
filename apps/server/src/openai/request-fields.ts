/** Fields that chat and text completions share. */

import { z } from "zod";

const within = (minimum: number, maximum: number) => {
  const words = `expected a number from ${minimum} to ${maximum}`;
  return z.number(words).min(minimum, words).max(maximum, words);
};
const integer = (minimum: number, maximum: number) => {
  const words = maximum === Number.MAX_SAFE_INTEGER ? `expected an integer of at least ${minimum}` : `expected an integer from ${minimum} to ${maximum}`;
  return z.int(words).min(minimum, words).max(maximum, words);
};
const flag = z.boolean("expected true or false");
const biasWords = "expected an object from token ids to numbers from -100 to 100";
const stopWords = "expected a string, or a list of 1 to 16 strings, none empty";
const stopText = z.string(stopWords).min(1, stopWords).max(1000, stopWords);

/** Tokens of one answer that are reported with logprobs, at most. */
export const maximumLogprobs = 20;

/** Fields by name; null counts as absent, as OpenAI has it. */
export const sharedFields = {
  model: z.string("expected the name of a model").min(1, "expected the name of a model"),
  max_tokens: integer(1, Number.MAX_SAFE_INTEGER).nullish(),
  n: integer(1, 1024).nullish(),
  temperature: within(0, 2).nullish(),
  top_p: z.number("expected a number above 0 and at most 1").gt(0, "expected a number above 0 and at most 1").max(1, "expected a number above 0 and at most 1").nullish(),
  seed: z.int("expected an integer").nullish(),
  stop: z.union([stopText, z.array(stopText, stopWords).min(1, stopWords).max(16, stopWords)], stopWords).nullish(),
  presence_penalty: within(-2, 2).nullish(),
  frequency_penalty: within(-2, 2).nullish(),
  logit_bias: z.record(z.string().regex(/^\d{1,9}$/, biasWords), z.number(biasWords).min(-100, biasWords).max(100, biasWords), biasWords).nullish(),
  stream: flag.nullish(),
  stream_options: z.strictObject({ include_usage: flag.nullish(), include_obfuscation: flag.nullish() }, "expected an object").nullish(),
  // Beyond OpenAI's interface.
  top_k: integer(0, 1_000_000).nullish(),
  min_p: z.number("expected a number of at least 0 and below 1").min(0, "expected a number of at least 0 and below 1").lt(1, "expected a number of at least 0 and below 1").nullish(),
  repetition_penalty: z.number("expected a number above 0").gt(0, "expected a number above 0").max(10, "expected a number above 0 and at most 10").nullish(),
  ignore_eos: flag.nullish(),
  session: z.string("expected 1 to 128 letters, digits, dots, dashes or underscores").regex(/^[\w.-]{1,128}$/, "expected 1 to 128 letters, digits, dots, dashes or underscores").nullish(),
  prefix_reuse: flag.nullish(),
  // What clients send for OpenAI's own bookkeeping; it changes no answer.
  user: z.string("expected a string").nullish(),
  metadata: z.record(z.string(), z.unknown(), "expected an object").nullish(),
  store: flag.nullish(),
  service_tier: z.string("expected a string").nullish(),
  safety_identifier: z.string("expected a string").nullish(),
  prompt_cache_key: z.string("expected a string").nullish(),
  prompt_cache_retention: z.string("expected a string").nullish(),
};

/** The values of {@link sharedFields}. */
export type SharedFields = z.output<z.ZodObject<typeof sharedFields>>;
