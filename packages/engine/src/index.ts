/** Continuous batching over compressed KV caches. */

export { createServingEngine } from "./create-serving-engine.js";
export type { EngineEvent } from "./engine-event.js";
export type { EngineStats, LayerStats, StoreStats } from "./engine-stats.js";
export type { Generation, GenerationPart, GenerationRequest, Splice, TokenPart, Usage } from "./generation.js";
export { measureSplice } from "./measure-splice.js";
export type { SpliceCase, SpliceComparison, SpliceEffect } from "./measure-splice.js";
export type { PageStore } from "./page-store.js";
export { memoryStore } from "./stores/memory-store.js";
export { tieredStore } from "./stores/tiered-store.js";
export type { TierFailure } from "./stores/tiered-store.js";
export type { ServingEngine, ServingEngineOptions, SessionInfo } from "./serving-engine.js";
