/** The data a tokenizer is made from, as a model file carries it. */

/** Tokenizer part of a GGUF file's metadata (keys `tokenizer.ggml.*` and `tokenizer.chat_template`). */
export interface GgufTokenizerSource {
  readonly kind: "gguf";
  readonly metadata: ReadonlyMap<string, unknown>;
}

/** Files of a Hugging Face folder, parsed. */
export interface HuggingFaceTokenizerSource {
  readonly kind: "huggingface";
  /** tokenizer.json */
  readonly tokenizer: unknown;
  /** tokenizer_config.json */
  readonly tokenizerConfig?: unknown;
  /** config.json and generation_config.json, where the end-of-turn ids stand. */
  readonly config?: unknown;
  readonly generationConfig?: unknown;
  /** chat_template.jinja */
  readonly chatTemplate?: string | undefined;
}

/** A model without tokenizer data; ids go in and out. */
export interface NoTokenizerSource {
  readonly kind: "none";
  /** What was looked for, for the message of `createTokenizer`. */
  readonly reason: string;
}

/** Where `createTokenizer` takes vocabulary, merges, special tokens and the chat template from. */
export type TokenizerSource = GgufTokenizerSource | HuggingFaceTokenizerSource | NoTokenizerSource;
