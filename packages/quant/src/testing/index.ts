/** Conformance suite for quantizers: `assertLaws({ quantizer, statistics, page })` with real or synthetic statistics. */

export { makeMatrix, makePage, makeStatistics, makeWindow, normalNumbers, randomNumbers } from "./fixture.js";
export type { StatisticsOptions, WindowOptions } from "./fixture.js";
export { assertLaws, findBrokenLaws, NMSE_BOUNDS, quantizerLaws, relativeError } from "./laws.js";
export type { LawSubject, QuantizerLaw } from "./laws.js";
