/** Native CPU kernels: attention over compressed pages, page codecs, whole model steps. */

export type { KernelPath, KeyCodecOptions, ModelSizes, ValueCodecOptions } from "./addon.js";
export { backendInfo } from "./backend-info.js";
export type { BackendInfo, MissingIsa } from "./backend-info.js";
export { availableIsas, chooseIsa, ISAS } from "./isa.js";
export type { Isa } from "./isa.js";
export { createNativeCache, isNativeCache } from "./native-cache.js";
export type { NativeCacheOptions, NativeKvCache, NativeLayerPlan } from "./native-cache.js";
export { explainNativeCodec, keyCodecOptions, openNativeCodec, TUNED_HEAD_DIMS, valueCodecOptions } from "./native-codec.js";
export type { NativeCodec } from "./native-codec.js";
export { createNativeKernel } from "./native-kernel.js";
export { NativeModel } from "./native-model.js";
export type { MatrixPart, NativeMatrix, NativeModelInfo, NativeModelShape, Step, StepSequence, VectorPart } from "./native-model.js";
export { createThreads } from "./native-threads.js";
export type { NativeThreads } from "./native-threads.js";
