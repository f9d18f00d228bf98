/** Remembers how each model was calibrated, so that a preset by its name alone finds the calibration that exists. */

import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder, writeFileAtomically } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import { checkSensitivity } from "@kvquant/quant";
import type { Sensitivity } from "@kvquant/quant";
import { check, checkInteger } from "@kvquant/spec";

/** Settings of a calibration; the statistics themselves are kept by @kvquant/eval under these settings. */
export interface CalibrationSettings {
  /** Absolute path of the text; undefined for the text that ships for the model. */
  readonly data?: string | undefined;
  readonly sequences: number;
  readonly length: number;
  readonly sensitivity: Sensitivity;
  /** True when the user made it with `kvquant calibrate`: it goes before ready artifacts. */
  readonly chosen?: boolean;
}

/** Where statistics are kept. */
export function calibrationFolder(): string {
  return join(cacheFolder(), "calibrations");
}

/** The settings last kept for the model; undefined when there are none that can still be used. */
export async function readKeptCalibration(model: LanguageModel): Promise<CalibrationSettings | undefined> {
  const path = settingsPath(model);
  if (!existsSync(path)) return undefined;
  try {
    return checkSettings(JSON.parse(await readFile(path, "utf8")) as CalibrationSettings);
  } catch {
    return undefined; // A file that cannot be read is as good as none: the model is calibrated again.
  }
}

function checkSettings(settings: CalibrationSettings): CalibrationSettings {
  const { data, sequences, length, sensitivity } = settings;
  checkInteger("sequences", sequences, { minimum: 1 });
  checkInteger("length", length, { minimum: 1 });
  checkSensitivity("sensitivity", sensitivity);
  check(data === undefined || existsSync(data), "data", "a text that is still there", data);
  return settings;
}

/** Keeps the settings of a calibration that was made. */
export async function writeKeptCalibration(model: LanguageModel, settings: CalibrationSettings): Promise<void> {
  await mkdir(calibrationFolder(), { recursive: true });
  await writeFileAtomically(settingsPath(model), Buffer.from(`${JSON.stringify(settings, undefined, 2)}\n`));
}

function settingsPath(model: LanguageModel): string {
  return join(calibrationFolder(), `${model.fingerprint.replaceAll(/[^\w-]+/g, "-")}.settings.json`);
}
