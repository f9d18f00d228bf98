/** Caches by name: ready calibrated ones, found by the fingerprint of their model, and others fitted to a calibration that is kept. */

export { parseCacheChoice, parseCacheChoices, plannedBits } from "./cache-choice.js";
export type { CacheChoice } from "./cache-choice.js";
export { calibrate, chooseCalibration, isCalibrationChosen } from "./calibration.js";
export type { CalibrateOptions } from "./calibration.js";
export { loadCustomQuantizers, noCustomQuantizers } from "./custom-quantizers.js";
export type { CustomQuantizers } from "./custom-quantizers.js";
export { findReadyArtifact } from "./find-ready-artifact.js";
export type { ReadyArtifactQuery } from "./find-ready-artifact.js";
export { calibrationFolder, readKeptCalibration, writeKeptCalibration } from "./kept-calibration.js";
export type { CalibrationSettings } from "./kept-calibration.js";
export { listReadyArtifacts } from "./list-ready-artifacts.js";
export type { ReadyArtifact } from "./list-ready-artifacts.js";
export { fitPreset, openCaches, readArtifact } from "./open-caches.js";
export type { NamedCache } from "./open-caches.js";
export { fitPlan, pricePlan } from "./plan-prices.js";
export type { PlanLength } from "./plan-prices.js";
export type { Preparation, PreparationProgress } from "./preparation.js";
export { readTokens } from "./text-source.js";
