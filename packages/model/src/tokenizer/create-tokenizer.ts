/** The tokenizer of a model file, whatever it comes from. */

import { KvquantError } from "@kvquant/spec";
import { createTokenizerFromData } from "./create-tokenizer-from-data.js";
import { tokenizerDataFromGguf } from "./tokenizer-data-from-gguf.js";
import { tokenizerDataFromHuggingFace } from "./tokenizer-data-from-huggingface.js";
import type { TokenizerSource } from "./tokenizer-source.js";
import type { Tokenizer } from "./tokenizer.js";

/**
 * Rebuilds the tokenizer a model file carries.
 * @throws UNSUPPORTED for a tokenizer model or pre-tokenizer that is not known, or a file without a tokenizer
 * @throws CORRUPT_DATA when the data makes no sense
 */
export function createTokenizer(source: TokenizerSource): Tokenizer {
  switch (source.kind) {
    case "gguf":
      return createTokenizerFromData(tokenizerDataFromGguf(source.metadata));
    case "huggingface":
      return createTokenizerFromData(tokenizerDataFromHuggingFace(source));
    case "none":
      throw new KvquantError("UNSUPPORTED", `createTokenizer: expected a model with a tokenizer, got none (${source.reason})`);
  }
}
