/** What a law of quantizers is, and what it is tried on. */

import type { Matrix } from "@kvquant/spec";
import type { LayerStatistics } from "../calibration/layer-statistics.js";
import type { Quantizer } from "../quantizer.js";

/** What a quantizer is tried on. */
export interface LawSubject {
  readonly quantizer: Quantizer;
  readonly statistics: LayerStatistics;
  /** A full page `[64, kvHeads * headDim]` like the calibration data. */
  readonly page: Matrix;
  /** Largest sum of squared errors over the page, relative to the page's variance around channel means; default by bits, `NMSE_BOUNDS`. */
  readonly nmse?: number;
}

/** A law; `check` returns what is wrong, or `undefined`. */
export interface QuantizerLaw {
  /** What a quantizer that keeps the law does. */
  readonly title: string;
  check(subject: LawSubject): string | undefined;
}

/** Largest error of a round trip by bits of a code, for data with outliers and offline ranges. */
export const NMSE_BOUNDS: Readonly<Record<number, number>> = { 1: 1, 2: 0.8, 3: 0.25, 4: 0.07, 5: 0.02, 8: 0.002 };
