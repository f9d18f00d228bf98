/** How texts are cut before byte-pair merging, by the name in `tokenizer.ggml.pre`. Patterns and names are those llama.cpp uses. */

import { KvquantError } from "@kvquant/spec";

/** Patterns applied one after the other to every piece; matches and what lies between become pieces of their own. */
export interface PreTokenizer {
  readonly patterns: readonly string[];
  /** A piece that is a vocabulary entry is taken whole, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** Whether BOS comes first when the file does not say. */
  readonly addBos: boolean;
}

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";
const CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const LLAMA3 = `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const gpt2: PreTokenizer = { patterns: [GPT2], ignoreMerges: false, addBos: false };
const smollm: PreTokenizer = { patterns: ["\\p{N}", GPT2], ignoreMerges: false, addBos: false };
const llama3: PreTokenizer = { patterns: [LLAMA3], ignoreMerges: true, addBos: true };
const qwen2: PreTokenizer = { patterns: [LLAMA3.replace("\\p{N}{1,3}", "\\p{N}")], ignoreMerges: false, addBos: false };
const fallback: PreTokenizer = { patterns: ["[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"], ignoreMerges: false, addBos: false };

const BY_NAME: Readonly<Record<string, PreTokenizer>> = {
  "gpt-2": gpt2,
  gpt2,
  smollm,
  "llama-bpe": llama3,
  llama3,
  "llama-v3": llama3,
  qwen2,
  "deepseek-r1-qwen": qwen2,
  default: fallback,
};

/**
 * The pre-tokenizer of a name; `default` when the file names none.
 * @throws UNSUPPORTED naming those that are known
 */
export function preTokenizer(name: string | undefined): PreTokenizer {
  const key = name ?? "default";
  const known = Object.hasOwn(BY_NAME, key) ? BY_NAME[key] : undefined;
  if (known) return known;
  throw new KvquantError("UNSUPPORTED", `tokenizer.ggml.pre: pre-tokenizer ${JSON.stringify(key)} is not known, expected one of ${Object.keys(BY_NAME).join(", ")}; use the model's safetensors folder, whose tokenizer.json describes it`);
}
