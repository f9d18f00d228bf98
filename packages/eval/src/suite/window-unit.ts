/** What is kept of windows. */

import type { CacheMeasurement } from "../cache-measurement.js";
import type { PackedScores } from "./window-scores.js";

/** What is kept of one window through one cache. */
export interface WindowUnit {
  readonly scores: PackedScores;
  readonly measurement: CacheMeasurement;
  readonly seconds: number;
}
