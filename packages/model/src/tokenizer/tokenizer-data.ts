/** A tokenizer as data: a tokenizer.json object and what stands beside it. */

/** An entry of `added_tokens` in tokenizer.json. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly normalized: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly single_word: boolean;
}

/** The parts of tokenizer.json that are looked into here; the rest is the library's business. */
export interface TokenizerJson {
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly [key: string]: unknown };
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: unknown;
  readonly pre_tokenizer: unknown;
  readonly post_processor: unknown;
  readonly decoder: unknown;
}

/** Everything `createTokenizerFromData` needs, from either kind of file. */
export interface TokenizerData {
  readonly json: TokenizerJson;
  /** How vocabulary entries spell bytes: GPT-2's printable stand-ins, or SentencePiece's `▁` and `<0x0A>`. */
  readonly spelling: "byte-level" | "sentencepiece";
  /** Decoding drops one space at the start of a text. */
  readonly stripLeadingSpace: boolean;
  readonly bos: number | undefined;
  readonly eos: readonly number[];
  readonly chatTemplate: string | undefined;
}
