/** Rebuilds a tokenizer.json object from GGUF metadata. */

import { KvquantError } from "@kvquant/spec";
import { createGgufMetadata } from "../gguf/gguf-metadata.js";
import type { GgufMetadata } from "../gguf/gguf-metadata.js";
import { endTokens } from "./end-tokens.js";
import { preTokenizer } from "./pre-tokenizers.js";
import { sentencePieceMerges } from "./sentencepiece-merges.js";
import type { AddedToken, TokenizerData, TokenizerJson } from "./tokenizer-data.js";

/** Values of `tokenizer.ggml.token_type`. */
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

/**
 * Vocabulary, merges and rules from `tokenizer.ggml.*`.
 * @throws UNSUPPORTED for a tokenizer model other than gpt2 (BPE) and llama (SentencePiece), or an unknown pre-tokenizer
 * @throws CORRUPT_DATA for lists that are missing or do not fit together
 */
export function tokenizerDataFromGguf(entries: ReadonlyMap<string, unknown>): TokenizerData {
  const metadata = createGgufMetadata("tokenizer", entries);
  const model = metadata.required("tokenizer.ggml.model", metadata.string("tokenizer.ggml.model"));
  if (model !== "gpt2" && model !== "llama") throw new KvquantError("UNSUPPORTED", `tokenizer.ggml.model: ${JSON.stringify(model)} is not known, expected gpt2 (BPE) or llama (SentencePiece)`);
  const tokens = strings(metadata, "tokenizer.ggml.tokens");
  const types = numbers(metadata, "tokenizer.ggml.token_type", tokens.length);
  const added = addedTokens(tokens, types);
  const id = (key: string): number | undefined => tokenId(metadata, key, tokens.length);
  const bos = id("tokenizer.ggml.bos_token_id");
  const eos = id("tokenizer.ggml.eos_token_id");
  const parts = model === "gpt2" ? byteLevelParts(metadata, tokens) : sentencePieceParts(metadata, tokens);
  const addBos = metadata.boolean("tokenizer.ggml.add_bos_token") ?? parts.addBos;
  const addEos = metadata.boolean("tokenizer.ggml.add_eos_token") ?? false;
  const json: TokenizerJson = {
    ...parts.json,
    added_tokens: added,
    post_processor: template(addBos && bos !== undefined ? tokens[bos] : undefined, addEos && eos !== undefined ? tokens[eos] : undefined),
  };
  const special = added.filter((token) => token.special).map((token) => [token.id, token.content] as const);
  const ends = [eos, id("tokenizer.ggml.eot_token_id"), id("tokenizer.ggml.eom_token_id")];
  return {
    json,
    spelling: model === "gpt2" ? "byte-level" : "sentencepiece",
    stripLeadingSpace: parts.spacePrefix,
    bos,
    eos: endTokens(ends, special),
    chatTemplate: metadata.string("tokenizer.chat_template"),
  };
}

interface Parts {
  readonly json: Omit<TokenizerJson, "added_tokens" | "post_processor">;
  readonly addBos: boolean;
  readonly spacePrefix: boolean;
}

function byteLevelParts(metadata: GgufMetadata, tokens: readonly string[]): Parts {
  const pre = preTokenizer(metadata.string("tokenizer.ggml.pre"));
  const splits = pre.patterns.map((Regex) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }));
  const merges = strings(metadata, "tokenizer.ggml.merges").map((line, rank) => {
    // The first character may itself be a space in files whose tokens are not byte-level.
    const cut = line.indexOf(" ", 1);
    if (cut < 0 || cut === line.length - 1) throw corrupt(`tokenizer.ggml.merges: expected two parts with a space between, got ${JSON.stringify(line)} at rank ${rank}`);
    return [line.slice(0, cut), line.slice(cut + 1)];
  });
  return {
    json: {
      model: { type: "BPE", vocab: vocabularyOf(tokens), merges, unk_token: null, fuse_unk: false, byte_fallback: false, ignore_merges: pre.ignoreMerges },
      normalizer: null,
      pre_tokenizer: { type: "Sequence", pretokenizers: [...splits, { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false }] },
      decoder: { type: "ByteLevel" },
    },
    addBos: pre.addBos,
    spacePrefix: false,
  };
}

function sentencePieceParts(metadata: GgufMetadata, tokens: readonly string[]): Parts {
  const scores = numbers(metadata, "tokenizer.ggml.scores", tokens.length);
  const spacePrefix = metadata.boolean("tokenizer.ggml.add_space_prefix") ?? true;
  const unknown = tokenId(metadata, "tokenizer.ggml.unknown_token_id", tokens.length) ?? 0;
  const spaces = { type: "Replace", pattern: { String: " " }, content: "\u2581" };
  return {
    json: {
      model: {
        type: "BPE",
        vocab: vocabularyOf(tokens),
        merges: sentencePieceMerges(tokens, scores),
        unk_token: tokens[unknown],
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
      },
      normalizer: spacePrefix ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "\u2581" }, spaces] } : spaces,
      pre_tokenizer: null,
      decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] },
    },
    addBos: true,
    spacePrefix,
  };
}

/** Control tokens are special; user-defined ones are found in texts and printed. */
function addedTokens(tokens: readonly string[], types: readonly number[]): AddedToken[] {
  const added: AddedToken[] = [];
  for (let id = 0; id < tokens.length; id++) {
    const type = types[id];
    if (type !== CONTROL && type !== USER_DEFINED && type !== UNKNOWN) continue;
    if (tokens[id] === "") continue;
    added.push({ id, content: tokens[id]!, special: type !== USER_DEFINED, normalized: false, lstrip: false, rstrip: false, single_word: false });
  }
  return added;
}

function template(bos: string | undefined, eos: string | undefined): unknown {
  const token = (id: string | undefined): unknown[] => (id === undefined ? [] : [{ SpecialToken: { id, type_id: 0 } }]);
  const single = [...token(bos), { Sequence: { id: "A", type_id: 0 } }, ...token(eos)];
  return { type: "TemplateProcessing", single, pair: single, special_tokens: {} };
}

/** Without a prototype, since any text can be an entry. */
function vocabularyOf(tokens: readonly string[]): Record<string, number> {
  const vocabulary: Record<string, number> = Object.create(null) as Record<string, number>;
  tokens.forEach((token, id) => (vocabulary[token] = id));
  return vocabulary;
}

function strings(metadata: GgufMetadata, key: string): readonly string[] {
  const value = metadata.required(key, metadata.entries.get(key));
  if (Array.isArray(value) && value.length > 0 && value.every((entry) => typeof entry === "string")) return value;
  throw corrupt(`${key}: expected a list of strings, got ${Array.isArray(value) ? `a list of ${value.length} with other entries` : typeof value}`);
}

function numbers(metadata: GgufMetadata, key: string, length: number): readonly number[] {
  const value = metadata.entries.get(key);
  if (value === undefined && key.endsWith("token_type")) return [];
  if (Array.isArray(value) && value.length === length && value.every((entry) => typeof entry === "number" && entry === entry)) return value;
  throw corrupt(`${key}: expected ${length} numbers, one for each token, got ${Array.isArray(value) ? `a list of ${value.length}` : typeof value}`);
}

function tokenId(metadata: GgufMetadata, key: string, count: number): number | undefined {
  const id = metadata.integer(key);
  // Converters write 2^32 - 1 for "none".
  if (id === undefined || id === 0xffffffff || id === -1) return undefined;
  if (id < 0 || id >= count) throw corrupt(`${key}: expected an id from 0 to ${count - 1}, got ${id}`);
  return id;
}

function corrupt(message: string): KvquantError {
  return new KvquantError("CORRUPT_DATA", `${message}; the file is damaged, fetch it again`);
}
