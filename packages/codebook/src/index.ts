/** Quantization levels: fitted to data, or to a distribution; nearest-level search; Q-Norm. */

export { fitExact } from "./fit-exact.js";
export { fitLloyd } from "./fit-lloyd.js";
export type { LloydOptions } from "./fit-lloyd.js";
export { fitOnGrid } from "./fit-on-grid.js";
export { GRID_STEPS, snapToGrid } from "./grid.js";
export { histogramError } from "./histogram-error.js";
export { addSample, addSamples, createHistogram, mergeHistogram } from "./histogram.js";
export type { WeightedHistogram } from "./histogram.js";
export { lloydMaxNormal } from "./lloyd-max-normal.js";
export { encodeNearest, midpoints, nearestCode } from "./nearest-code.js";
export { normalFloat } from "./normal-float.js";
export { qNorm } from "./q-norm.js";
export { uniformLevels, uniformOnGrid } from "./uniform-levels.js";
