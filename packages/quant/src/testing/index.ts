/** Conformance suite for quantizers: `assertLaws({ quantizer, statistics, page })` with real or synthetic statistics. */

export { makeMatrix, makePage, makeStatistics, makeWindow, normalNumbers, randomNumbers } from "./fixture.js";
export type { StatisticsOptions, WindowOptions } from "./fixture.js";
export { NMSE_BOUNDS } from "./law.js";
export type { LawSubject, QuantizerLaw } from "./law.js";
export { relativeError } from "./law-tools.js";
export { assertLaws, findBrokenLaws, quantizerLaws } from "./laws.js";
export { randomArtifact } from "./random-artifact.js";
