/** What the packages need of a tokenizer. */

/** Text to token ids and back. */
export interface Tokenizer {
  /**
   * Ids of a text.
   * @param options `addSpecial` (default true) adds what the model expects around a text, such as BOS;
   * `parseSpecial` (default true) reads control tokens written out in the text, such as `<|im_end|>`: turn it off for text that is not trusted
   */
  encode(text: string, options?: { addSpecial?: boolean; parseSpecial?: boolean }): Int32Array;
  /**
   * Text of ids; bytes that are not UTF-8 become U+FFFD.
   * @param options `skipSpecial` (default true) leaves control tokens out
   * @throws INVALID_ARGUMENT for an id outside the vocabulary
   */
  decode(ids: ArrayLike<number>, options?: { skipSpecial?: boolean }): string;
  /** Begin-of-sequence id, when the model has one. */
  readonly bos?: number;
  /** All ids that end a turn or a text, the one the file declares first. */
  readonly eos: readonly number[];
  /** `encode` with `addSpecial` puts `bos` first. */
  readonly addBos: boolean;
  /** Number of ids; a model may have more rows of embedding than that. */
  readonly vocabulary: number;
  /** Ids of control tokens, such as `<|im_end|>`: what `parseSpecial` reads and `skipSpecial` leaves out. */
  readonly special: readonly number[];
  /** Jinja template that turns messages into a prompt, see `applyChatTemplate`. */
  readonly chatTemplate?: string;
  /** Text of one id as it stands in the vocabulary, such as `<|im_end|>`; undefined outside the vocabulary. */
  tokenText(id: number): string | undefined;
  /**
   * Decodes a growing sequence. All texts together are what `decode` gives, unless `continued` keeps the leading space that
   * SentencePiece models put before the first word of a text.
   */
  streamDecoder(options?: { skipSpecial?: boolean; continued?: boolean }): StreamDecoder;
}

/** Decoder that never cuts a character in two. */
export interface StreamDecoder {
  /** Text that became whole with this id, often empty. */
  push(id: number): string;
  /** Text of bytes still waiting, as U+FFFD. */
  end(): string;
}
