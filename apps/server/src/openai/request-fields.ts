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
const sessionWords = "expected 1 to 100 letters, digits, dots, dashes or underscores";
const stopText = z.string(stopWords).min(1, stopWords).max(1000, stopWords);

/** Tokens of one answer that are reported with logprobs, at most. */
export const maximumLogprobs = 20;

/** Fields by name. */
export const sharedFields = {
  model: z.string("expected the name of a model").min(1, "expected the name of a model"),
  max_tokens: integer(1, Number.MAX_SAFE_INTEGER).optional(),
  n: integer(1, 1024).optional(),
  temperature: within(0, 2).optional(),
  top_p: z.number("expected a number above 0 and at most 1").gt(0, "expected a number above 0 and at most 1").max(1, "expected a number above 0 and at most 1").optional(),
  seed: z.int("expected an integer").optional(),
  stop: z.union([stopText, z.array(stopText, stopWords).min(1, stopWords).max(16, stopWords)], stopWords).optional(),
  presence_penalty: within(-2, 2).optional(),
  frequency_penalty: within(-2, 2).optional(),
  logit_bias: z.record(z.string().regex(/^\d{1,9}$/, biasWords), z.number(biasWords).min(-100, biasWords).max(100, biasWords), biasWords).optional(),
  stream: flag.optional(),
  stream_options: z.strictObject({ include_usage: flag.nullish(), include_obfuscation: flag.nullish() }, "expected an object").optional(),
  // Beyond OpenAI's interface.
  top_k: integer(0, 1_000_000).optional(),
  min_p: z.number("expected a number of at least 0 and below 1").min(0, "expected a number of at least 0 and below 1").lt(1, "expected a number of at least 0 and below 1").optional(),
  repetition_penalty: z.number("expected a number above 0").gt(0, "expected a number above 0").max(10, "expected a number above 0 and at most 10").optional(),
  ignore_eos: flag.optional(),
  session: z.string(sessionWords).regex(/^[\w.-]{1,100}$/, sessionWords).optional(),
  prefix_reuse: flag.optional(),
  // What clients send for OpenAI's own bookkeeping; it changes no answer.
  user: z.string("expected a string").optional(),
  metadata: z.record(z.string(), z.unknown(), "expected an object").optional(),
  store: flag.optional(),
  service_tier: z.string("expected a string").optional(),
  safety_identifier: z.string("expected a string").optional(),
  prompt_cache_key: z.string("expected a string").optional(),
  prompt_cache_retention: z.string("expected a string").optional(),
};

/** The values of {@link sharedFields}. */
export type SharedFields = z.output<z.ZodObject<typeof sharedFields>>;
