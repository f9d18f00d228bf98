/** Bit-packing formats for quantization codes, and half-precision numbers. */

export { decodeHalf, encodeHalf, floatFromHalf, halfFromFloat, roundToHalf } from "./half.js";
export { keyLanes } from "./key-lanes.js";
export { linear } from "./linear.js";
export type { PackingFormat } from "./packing-format.js";
export type { PageBits, PageFormat } from "./page-format.js";
export { valueLanes } from "./value-lanes.js";
