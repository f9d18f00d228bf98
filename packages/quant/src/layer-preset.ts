/** The two quantizers of a layer. */

import type { Quantizer } from "./quantizer.js";

/** Quantizers of one layer. */
export interface LayerPreset {
  readonly key: Quantizer;
  readonly value: Quantizer;
}
