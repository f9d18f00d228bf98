/** A GGUF file, as far as it is read before weights are: header, configuration, tokenizer, a row of the embedding. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createTokenizer, openModelFile } from "@kvquant/model";
import { smallModel } from "../../../packages/model/src/gguf/fixtures/small-model.js";
import { writeGguf } from "../../../packages/model/src/gguf/fixtures/write-gguf.js";
import type { MetadataEntry } from "../../../packages/model/src/gguf/fixtures/write-gguf.js";
import { obeyAsync, scratchFolder } from "../law.js";

const path = join(scratchFolder, "model.gguf");

const words10 = ["<s>", "</s>", "a", "b", "ab", "\u2581", "\u2581a", "<0x0A>", "c", "d"];

const tokenizers: readonly Record<string, MetadataEntry>[] = [
  {
    "tokenizer.ggml.model": { string: "llama" },
    "tokenizer.ggml.tokens": { strings: words10 },
    "tokenizer.ggml.scores": { f32s: words10.map((_, index) => -index) },
    "tokenizer.ggml.token_type": { i32s: [3, 3, 1, 1, 1, 1, 1, 6, 1, 1] },
    "tokenizer.ggml.bos_token_id": { u32: 0 },
    "tokenizer.ggml.eos_token_id": { u32: 1 },
  },
  {
    "tokenizer.ggml.model": { string: "gpt2" },
    "tokenizer.ggml.pre": { string: "llama-bpe" },
    "tokenizer.ggml.tokens": { strings: ["<s>", "a", "b", "ab", "c", "d", "e", "f", "g", "\u0120"] },
    "tokenizer.ggml.token_type": { i32s: [3, 1, 1, 1, 1, 1, 1, 1, 1, 1] },
    "tokenizer.ggml.merges": { strings: ["a b"] },
    "tokenizer.ggml.eos_token_id": { u32: 0 },
    "tokenizer.chat_template": { string: "{% for message in messages %}{{ message.content }}{% endfor %}" },
  },
];

/** The library reads a header in pieces of 2 MB, with zeros behind the end of a short file: a list there can have 250,000 empty strings, which takes it 2 s. More than that is no part of a header. */
const MAXIMUM_SECONDS = 10;

export const maximumLength = 40_000;

/** Whole small models: three architectures, with and without a tokenizer. */
export function seeds(): Uint8Array[] {
  return (["llama", "qwen2", "qwen3"] as const).map((architecture, index) => {
    const { metadata, tensors } = smallModel(architecture, { tied: true });
    return writeGguf({ ...metadata, ...tokenizers[index] }, tensors);
  });
}

export async function fuzz(data: Uint8Array): Promise<void> {
  writeFileSync(path, data);
  await obeyAsync(data.length, async () => {
    const file = await openModelFile(path);
    try {
      file.embeddingRows([0], new Float32Array(file.config.width));
      file.tensor("layers.0.key");
      const tokenizer = createTokenizer(file.tokenizerSource);
      tokenizer.decode(tokenizer.encode("ab <s> c\n"));
    } finally {
      file.close();
    }
  }, MAXIMUM_SECONDS);
}
