/** Makes a serving engine. */

import { KvquantError } from "@kvquant/spec";
import type { ServingEngine, ServingEngineOptions } from "./serving-engine.js";

/** Makes an engine over a model. @throws INVALID_ARGUMENT, MODEL_MISMATCH, UNSUPPORTED */
export function createServingEngine(_options: ServingEngineOptions): ServingEngine {
  throw new KvquantError("UNSUPPORTED", "createServingEngine: not there yet");
}
