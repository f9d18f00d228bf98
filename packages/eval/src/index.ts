/** Calibration of models and evaluation of caches. The figures themselves are `@kvquant/eval/metrics`. */

export { cacheBytesAt } from "./cache-bytes-at.js";
export type { CacheBytesOptions } from "./cache-bytes-at.js";
export type { CacheMeasurement } from "./cache-measurement.js";
export { calibrateModel } from "./calibrate-model.js";
export type { Calibration, CalibrationOptions, CalibrationProgress } from "./calibrate-model.js";
export { CALIBRATION_METHOD } from "./calibration-store.js";
export { evaluateCaches } from "./evaluate-caches.js";
export type { EvaluatedCache, EvaluationOptions, EvaluationProgress } from "./evaluate-caches.js";
export type { BeginningOfText, CalibrationModel, EvaluationModel } from "./evaluation-model.js";
export type { EvaluationProtocol, EvaluationReport, EvaluationRow } from "./evaluation-report.js";
export { fingerprintTokens } from "./fingerprint-tokens.js";
export { makeArtifact } from "./make-artifact.js";
export { planFront, planPreset, solvePlan } from "./planner/plan.js";
export type { Plan, PlanBounds, PlanFigures, PlanInput, PlannedTensor } from "./planner/plan.js";
export { renderPlanReport } from "./planner/plan-report.js";
export type { PlanReportContent } from "./planner/plan-report.js";
export { verifyPlan } from "./planner/verify-plan.js";
export type { PlanRound, VerifyOptions } from "./planner/verify-plan.js";
export { priceCalibration } from "./planner/price-calibration.js";
export type { CalibrationPrices, CalibrationPricingOptions } from "./planner/price-calibration.js";
export { smoothPrices } from "./planner/smooth-prices.js";
export { defaultPlanOptions } from "./planner/plan-option.js";
export type { PlanOption } from "./planner/plan-option.js";
export { priceOptions } from "./planner/price-options.js";
export type { Price, PricingOptions } from "./planner/price-options.js";
export { cutWindows } from "./windows.js";
export type { WindowOptions } from "./windows.js";
