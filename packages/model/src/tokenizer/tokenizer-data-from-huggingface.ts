/** Reads tokenizer.json and its neighbours. */

import { KvquantError } from "@kvquant/spec";
import { endTokens } from "./end-tokens.js";
import type { AddedToken, TokenizerData, TokenizerJson } from "./tokenizer-data.js";
import type { HuggingFaceTokenizerSource } from "./tokenizer-source.js";

/** Vocabularies have gaps, but not this many. */
const UNUSED_IDS = 65_536;

type Fields = Readonly<Record<string, unknown>>;

/**
 * The tokenizer of a folder.
 * @throws UNSUPPORTED for a model other than BPE
 * @throws CORRUPT_DATA when tokenizer.json lacks its parts
 */
export function tokenizerDataFromHuggingFace(source: HuggingFaceTokenizerSource): TokenizerData {
  const raw = fieldsOf(source.tokenizer);
  const model = fieldsOf(raw["model"]);
  const kind = model["type"] ?? (model["merges"] === undefined ? undefined : "BPE");
  if (kind !== "BPE") throw new KvquantError("UNSUPPORTED", `tokenizer.json: tokenizer model ${JSON.stringify(kind)} is not known, expected BPE`);
  if (!isVocabulary(model["vocab"]) || !Array.isArray(model["merges"])) throw new KvquantError("CORRUPT_DATA", "tokenizer.json: expected a vocabulary of ids and a list of merges, got something else; fetch the file again");
  const added = addedTokens(raw["added_tokens"]);
  checkIds(model["vocab"], added);
  const json: TokenizerJson = {
    model: { ...model, type: "BPE", vocab: model["vocab"] },
    added_tokens: added,
    normalizer: raw["normalizer"] ?? null,
    pre_tokenizer: raw["pre_tokenizer"] ?? null,
    post_processor: raw["post_processor"] ?? null,
    decoder: raw["decoder"] ?? null,
  };
  const decoders = decoderTypes(json.decoder);
  const tokenizerConfig = fieldsOf(source.tokenizerConfig);
  const config = fieldsOf(source.config);
  const idOf = (content: string | undefined): number | undefined => {
    if (content === undefined) return undefined;
    return added.find((token) => token.content === content)?.id ?? (Object.hasOwn(json.model.vocab, content) ? json.model.vocab[content] : undefined);
  };
  const special = added.filter((token) => token.special).map((token) => [token.id, token.content] as const);
  const ends = [idOf(contentOf(tokenizerConfig["eos_token"])), ...idsOf(config["eos_token_id"]), ...idsOf(fieldsOf(source.generationConfig)["eos_token_id"])];
  return {
    json,
    spelling: decoders.includes("ByteLevel") ? "byte-level" : "sentencepiece",
    stripLeadingSpace: decoders.includes("Strip") || (decoders.includes("Metaspace") && !JSON.stringify(json.decoder).includes('"prepend_scheme":"never"')),
    bos: source.tokenizerConfig === undefined ? idsOf(config["bos_token_id"])[0] : idOf(contentOf(tokenizerConfig["bos_token"])),
    eos: endTokens(ends, special),
    chatTemplate: source.chatTemplate ?? templateOf(tokenizerConfig["chat_template"]),
  };
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function isVocabulary(value: unknown): value is Record<string, number> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every((id) => Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < 2 ** 26);
}

function addedTokens(value: unknown): AddedToken[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new KvquantError("CORRUPT_DATA", "tokenizer.json: expected a list of added_tokens, got something else; fetch the file again");
  return value.map((entry: unknown) => {
    const { id, content, special, normalized, lstrip, rstrip, single_word: singleWord } = fieldsOf(entry);
    if (!Number.isSafeInteger(id) || (id as number) < 0 || (id as number) >= 2 ** 26 || typeof content !== "string") throw new KvquantError("CORRUPT_DATA", `tokenizer.json: expected added tokens with id and content, got ${JSON.stringify(entry)}`);
    return { id: id as number, content, special: special === true, normalized: normalized === true, lstrip: lstrip === true, rstrip: rstrip === true, single_word: singleWord === true };
  });
}

/** Tables of tokens are as long as the largest id: one far beyond the number of tokens would take memory that the file does not have entries for. */
function checkIds(vocabulary: Readonly<Record<string, number>>, added: readonly AddedToken[]): void {
  const ids = [...Object.values(vocabulary), ...added.map(({ id }) => id)];
  const most = UNUSED_IDS + 4 * ids.length;
  const beyond = ids.find((id) => id >= most);
  if (beyond !== undefined) throw new KvquantError("CORRUPT_DATA", `tokenizer.json: expected ids below ${most} for ${ids.length} tokens, got ${beyond}; fetch the file again`);
}

/** Types of the decoder and, if it is a sequence, of its parts. */
function decoderTypes(decoder: unknown): unknown[] {
  const fields = fieldsOf(decoder);
  const parts = Array.isArray(fields["decoders"]) ? fields["decoders"] : [];
  return [fields["type"], ...parts.map((part: unknown) => fieldsOf(part)["type"])];
}

function idsOf(value: unknown): number[] {
  return (Array.isArray(value) ? value : [value]).filter((id): id is number => Number.isSafeInteger(id) && id >= 0);
}

/** A special token stands as its text or as an object with it. */
function contentOf(value: unknown): string | undefined {
  const content = typeof value === "string" ? value : fieldsOf(value)["content"];
  return typeof content === "string" ? content : undefined;
}

function templateOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const entries = value.map(fieldsOf);
  const chosen = (entries.find((entry) => entry["name"] === "default") ?? entries[0])?.["template"];
  return typeof chosen === "string" ? chosen : undefined;
}
