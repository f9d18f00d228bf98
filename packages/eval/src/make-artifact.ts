/** Fits a preset to a calibration. */

import { fitArtifact, parsePreset } from "@kvquant/quant";
import type { CachePreset, KvqArtifact, Sensitivity } from "@kvquant/quant";
import type { Calibration } from "./calibrate-model.js";
import { CALIBRATION_METHOD } from "./calibration-store.js";
import type { CalibrationModel } from "./evaluation-model.js";

const METHODS: Readonly<Record<Sensitivity, string>> = {
  fisher: "kvquant/backward-pass",
  attention: "kvquant/attention-columns",
  none: "kvquant/forward-pass",
};

/**
 * The artifact of a preset, by name or as plain data, for the model that was calibrated; it records both.
 * @throws INVALID_ARGUMENT for an unknown preset
 * @throws UNSUPPORTED when the statistics lack what the preset needs, such as feedback rounding without sensitivities
 */
export function makeArtifact(model: Pick<CalibrationModel, "name" | "fingerprint" | "config">, preset: string | CachePreset, calibration: Calibration): KvqArtifact {
  const { statistics, textFingerprint, sequences, length, tokens } = calibration;
  const { sensitivity } = statistics;
  return fitArtifact(typeof preset === "string" ? parsePreset(preset) : preset, statistics, {
    model: { fingerprint: model.fingerprint, name: model.name, architecture: model.config.architecture },
    calibration: { textFingerprint, sequences, length, tokens, sensitivity, method: METHODS[sensitivity], methodVersion: CALIBRATION_METHOD },
  });
}
