/** The file side of the package: opening models, tokenizers, finding and downloading models, safe writing. Re-exported by index.ts. */

export { ARCHITECTURES } from "./config/model-config.js";
export type { Architecture, ModelConfig } from "./config/model-config.js";
export type { LayerPart, TensorName } from "./config/tensor-name.js";
export { cacheFolder } from "./files/cache-folder.js";
export type { ModelFile } from "./files/model-file.js";
export { openModelFile } from "./files/open-model-file.js";
export { readWholeFile } from "./files/read-whole-file.js";
export { writeFileAtomically } from "./files/write-file-atomically.js";
export { BLOCK_TYPES } from "./gguf/block-types.js";
export type { BlockType } from "./gguf/block-type.js";
export { resolveModel } from "./resolve/resolve-model.js";
export type { ResolvedModel } from "./resolve/resolve-model.js";
export type { ResolveOptions, ResolveProgress } from "./resolve/resolve-options.js";
export { applyChatTemplate } from "./tokenizer/chat-template.js";
export type { ChatMessage, ChatTemplateOptions, ChatToolCall } from "./tokenizer/chat-template.js";
export { createTokenizer } from "./tokenizer/create-tokenizer.js";
export type { StreamDecoder, Tokenizer } from "./tokenizer/tokenizer.js";
export type { GgufTokenizerSource, HuggingFaceTokenizerSource, NoTokenizerSource, TokenizerSource } from "./tokenizer/tokenizer-source.js";
