/** Types, errors and plug-in contracts shared by every package. */

export type { AttentionBlock, AttentionKernel } from "./attention-kernel.js";
export { bitsPerValue } from "./block-codec.js";
export type { BlockCodec, EncodedBlock, QuantizerArtifact } from "./block-codec.js";
export { checkCacheShape } from "./cache-shape.js";
export type { CacheShape } from "./cache-shape.js";
export { check, checkFinite, checkInteger, checkLength } from "./check.js";
export { KvquantError } from "./error.js";
export type { KvquantErrorCode } from "./error.js";
export { PAGE_TOKENS } from "./matrix.js";
export type { Axis, Bits, Matrix, Side } from "./matrix.js";
export { awaitNative, callNative, fromNative } from "./native-error.js";
