/** Language models over KVQuant caches: files, tokenizers, the reference engine, generation. */

export * from "./model-files.js";
export { checkContext } from "./check-context.js";
export { defaultText } from "./default-text.js";
export { createOnnxAttentionKernel } from "./engine/onnx-attention-kernel.js";
export type { LayerAttention, LayerGradients, PassOptions } from "./engine/calibration-passes.js";
export { createEngine } from "./create-engine.js";
export type { EngineChoice, EngineOptions } from "./create-engine.js";
export type { Engine, ForwardOptions } from "./engine/engine.js";
export { NativeEngine } from "./engine/native-engine.js";
export type { BatchSequence, NativeEngineOptions } from "./engine/native-engine.js";
export { generate } from "./generate/generate.js";
export type { GeneratedToken, GenerateOptions } from "./generate/generate.js";
export { createRandom } from "./generate/random.js";
export { logProbabilitiesOf } from "./generate/log-probabilities.js";
export type { LogProbabilities, TokenLogProbability } from "./generate/log-probabilities.js";
export { checkSampling, sampleToken } from "./generate/sample-token.js";
export type { Sampling, TokenHistory } from "./generate/sample-token.js";
export { StopText } from "./generate/stop-text.js";
export type { CacheBackend, ModelCacheOptions } from "./create-model-cache.js";
export { LanguageModel } from "./language-model.js";
export { loadModel } from "./load-model.js";
export type { LoadModelOptions } from "./load-model.js";
