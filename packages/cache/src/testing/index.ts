/** Conformance suite for attention kernels, float64 references of a kernel and of a whole cache, a codec for exactness tests, and sequences to put through caches. */

export { attentionKernelCases } from "./attention-kernel-cases.js";
export type { ConformanceCase } from "./attention-kernel-cases.js";
export { float32Codec } from "./float32-codec.js";
export type { Float32Codec } from "./float32-codec.js";
export { normalNumbers, seededRandom } from "./random.js";
export { plainFloat32Attention, referenceAttention } from "./reference-attention.js";
export { pageRule, referenceCacheAttention } from "./reference-cache.js";
export type { ReferenceCacheInput } from "./reference-cache.js";
export { feed, feedInChunks, maximumDifference, randomSequence, rowsOf } from "./test-sequence.js";
export type { TestSequence } from "./test-sequence.js";
