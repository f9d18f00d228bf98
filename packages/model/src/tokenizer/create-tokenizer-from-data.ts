/** The tokenizer over a tokenizer.json object: encoding by @huggingface/tokenizers, decoding by bytes. */

import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { check, KvquantError } from "@kvquant/spec";
import { bytesOfByteLevel, bytesOfSentencePiece } from "./byte-level.js";
import { createByteStream } from "./stream-decoder.js";
import type { TokenizerData, TokenizerJson } from "./tokenizer-data.js";
import type { Tokenizer } from "./tokenizer.js";

/** Builds the tokenizer. @throws CORRUPT_DATA when the library refuses the object */
export function createTokenizerFromData(data: TokenizerData): Tokenizer {
  const json = cutAtSpaces(data.json);
  const parsing = build(json);
  let plain: HuggingFaceTokenizer | undefined;
  const texts = tokenTexts(data.json);
  const special = new Set(data.json.added_tokens.filter((token) => token.special).map((token) => token.id));
  const added = new Set(data.json.added_tokens.map((token) => token.id));
  const bytes = new Array<Uint8Array | undefined>(texts.length);
  const encoder = new TextEncoder();

  const encode: Tokenizer["encode"] = (text, { addSpecial = true, parseSpecial = true } = {}) => {
    const tokenizer = parseSpecial ? parsing : (plain ??= build(withoutSpecialInText(json)));
    return Int32Array.from(attempt(() => tokenizer.encode(text, { add_special_tokens: addSpecial }).ids));
  };
  const bytesOf = (id: number): Uint8Array => {
    check(Number.isInteger(id) && id >= 0 && id < texts.length, "decode: id", `an integer from 0 to ${texts.length - 1}`, id);
    const text = texts[id] ?? "";
    return (bytes[id] ??= added.has(id) ? encoder.encode(text) : data.spelling === "byte-level" ? bytesOfByteLevel(text) : bytesOfSentencePiece(text));
  };
  const streamDecoder: Tokenizer["streamDecoder"] = ({ skipSpecial = true, continued = false } = {}) => {
    const stream = createByteStream(data.stripLeadingSpace && !continued);
    return { push: (id) => stream.push(skipSpecial && special.has(id) ? EMPTY : bytesOf(id)), end: () => stream.end() };
  };
  return {
    encode,
    decode(ids, options = {}) {
      const stream = streamDecoder(options);
      const parts: string[] = [];
      for (let index = 0; index < ids.length; index++) parts.push(stream.push(ids[index]!));
      parts.push(stream.end());
      return parts.join("");
    },
    ...(data.bos === undefined ? {} : { bos: data.bos }),
    eos: data.eos,
    addBos: data.bos !== undefined && encode("")[0] === data.bos,
    vocabulary: texts.length,
    special: [...special],
    ...(data.chatTemplate === undefined ? {} : { chatTemplate: data.chatTemplate }),
    tokenText: (id) => texts[id],
    streamDecoder,
  };
}

const EMPTY = new Uint8Array(0);

function build(json: TokenizerJson): HuggingFaceTokenizer {
  return attempt(() => new HuggingFaceTokenizer(json, {}));
}

/** What the library does with data that comes from a model's file; some of it is looked at first when a text is encoded. */
function attempt<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (cause) {
    throw new KvquantError("CORRUPT_DATA", `tokenizer: expected data the tokenizers library can use, got an error from it: ${(cause as Error).message}`, { cause });
  }
}

/**
 * SentencePiece texts are one piece, which takes long to merge. Where no vocabulary entry has a space after something else, no merge crosses
 * such a place, so cutting there changes no id.
 */
function cutAtSpaces(json: TokenizerJson): TokenizerJson {
  if (json.pre_tokenizer !== null) return json;
  for (const text of Object.keys(json.model.vocab)) if (/[^\u2581]\u2581/.test(text)) return json;
  return { ...json, pre_tokenizer: { type: "Split", pattern: { Regex: "\u2581+[^\u2581]*" }, behavior: "Isolated", invert: false } };
}

/** Special tokens stay in the vocabulary, where the post-processor finds them, but are not looked for in texts. */
function withoutSpecialInText(json: TokenizerJson): TokenizerJson {
  const vocab: Record<string, number> = Object.assign(Object.create(null), json.model.vocab);
  for (const token of json.added_tokens) if (token.special) vocab[token.content] = token.id;
  return { ...json, model: { ...json.model, vocab }, added_tokens: json.added_tokens.filter((token) => !token.special) };
}

function tokenTexts(json: TokenizerJson): (string | undefined)[] {
  const texts: (string | undefined)[] = [];
  for (const [text, id] of Object.entries(json.model.vocab)) texts[id] = text;
  for (const token of json.added_tokens) texts[token.id] = token.content;
  return texts;
}
