/** Rotary position embeddings: scaling rules, tables, application and its inverse. */

export { applyRope } from "./apply-rope.js";
export type { ApplyRopeOptions } from "./apply-rope.js";
export { halfToInterleaved, interleavedToHalf } from "./channel-permutation.js";
export { createRope } from "./create-rope.js";
export type { Rope } from "./create-rope.js";
export { checkRopeConfig } from "./rope-config.js";
export type {
  DynamicScaling,
  FactorsScaling,
  LinearScaling,
  Llama3Scaling,
  LongRopeScaling,
  NoScaling,
  Pairing,
  RopeConfig,
  RopeScaling,
  YarnScaling,
} from "./rope-config.js";
export { ropeFrequencies } from "./rope-frequencies.js";
export type { RopeFrequencies } from "./rope-frequencies.js";
export type { RopeTable } from "./rope-table.js";
export { ropeScalingFromGguf } from "./rope-scaling-from-gguf.js";
export type { GgufRopeFactors } from "./rope-scaling-from-gguf.js";
export { ropeConfigFromHuggingFace, ropeScalingFromHuggingFace } from "./rope-scaling-from-hugging-face.js";
