/** Calibration of models and evaluation of caches. The figures themselves are `@kvquant/eval/metrics`. */

export { cacheBytesAt } from "./cache-bytes-at.js";
export type { CacheBytesOptions } from "./cache-bytes-at.js";
export type { CacheMeasurement } from "./cache-measurement.js";
export { calibrateModel } from "./calibrate-model.js";
export type { Calibration, CalibrationOptions, CalibrationProgress } from "./calibrate-model.js";
export { CALIBRATION_METHOD } from "./calibration-store.js";
export { evaluateCaches } from "./evaluate-caches.js";
export type { EvaluationOptions, EvaluationProgress } from "./evaluate-caches.js";
export type { EvaluatedCache } from "./evaluated-cache.js";
export type { BeginningOfText, CalibrationModel, EvaluationModel } from "./evaluation-model.js";
export type { EvaluationProtocol, EvaluationReport, EvaluationRow } from "./evaluation-report.js";
export { fingerprintTokens } from "./fingerprint-tokens.js";
export { makeArtifact } from "./make-artifact.js";
export { renderReport } from "./report/render-report.js";
export { resolveSettings, RETRIEVAL_PARTS, SUITE_PARTS } from "./suite/suite-options.js";
export type { DriftOptions, RetrievalPart, SuiteOptions, SuitePart, SuiteProgress, SuiteSettings } from "./suite/suite-options.js";
export { runSuite } from "./suite/run-suite.js";
export type { SuiteModel } from "./suite/suite-model.js";
export { REPORT_SCHEMA, REPORT_VERSION } from "./suite/suite-report.js";
export type { DriftRow, DriftSection, FidelityReport, LayerRow, ParetoPoint, RetrievalRow, RetrievalSection, RowName, WindowRow, WindowSection } from "./suite/suite-report.js";
export { cutWindows } from "./windows.js";
export type { WindowOptions } from "./windows.js";
