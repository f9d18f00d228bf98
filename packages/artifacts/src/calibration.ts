/** Calibration statistics of a model: kept from earlier, or made now. */

import { resolve } from "node:path";
import { calibrateModel } from "@kvquant/eval";
import type { Calibration } from "@kvquant/eval";
import type { LanguageModel } from "@kvquant/model";
import type { Sensitivity } from "@kvquant/quant";
import { calibrationFolder, readKeptCalibration, writeKeptCalibration } from "./kept-calibration.js";
import type { CalibrationSettings } from "./kept-calibration.js";
import type { Preparation } from "./preparation.js";
import { readTokens } from "./text-source.js";

/** Windows of a calibration unless asked otherwise, where the text has as many. */
const defaultSequences = 4;
const defaultLength = 2048;

/** How a model is calibrated; what is not given comes from the calibration kept for the model, or from defaults. */
export interface CalibrateOptions {
  /** First tokens kept exact, default 1. */
  readonly sinks?: number | undefined;
  /** Windows; default 4, or what the text has. */
  readonly sequences?: number | undefined;
  /** Tokens of a window; default 2,048, or the model's context. */
  readonly length?: number | undefined;
  /** Default `fisher`. */
  readonly sensitivity?: Sensitivity | undefined;
  /** Path of a text; default: the text that ships for the model. */
  readonly data?: string | undefined;
  /** Names the option of the text in errors. */
  readonly dataOption: string;
  /** Makes this the calibration that presets use from now on, even when there is one. */
  readonly replace?: boolean | undefined;
  readonly context: Preparation;
}

/** Runs or recalls a calibration, saying which. */
export async function calibrate(model: LanguageModel, options: CalibrateOptions): Promise<Calibration> {
  const { context, sinks = 1 } = options;
  const settings = await chooseCalibration(model, options);
  const tokens = await readTokens(model, settings.data, options.dataOption);
  const { sequences, length, sensitivity } = settings;
  const calibration = await context.progress.run(
    `calibrating ${model.name} (${sensitivity}, ${sequences} x ${length} tokens of ${settings.data ?? "its own text"})`,
    (update) =>
      calibrateModel(model, {
        tokens,
        sequences,
        length,
        sinkTokens: sinks,
        sensitivity,
        folder: calibrationFolder(),
        signal: context.signal,
        onNotice: (message) => context.progress.note(message),
        onProgress: ({ done, total, window, windows }) => update(done / total, `window ${window} of ${windows}`),
      }),
    ({ fromCache }) => (fromCache ? "kept from earlier" : "done, kept for next time"),
  );
  if (options.replace === true || (await readKeptCalibration(model)) === undefined) await writeKeptCalibration(model, { ...settings, ...(options.replace === true && { chosen: true }) });
  return calibration;
}

type AskedCalibration = Pick<CalibrateOptions, "data" | "sequences" | "length" | "sensitivity">;

function isAsked({ data, sequences, length, sensitivity }: AskedCalibration): boolean {
  return data !== undefined || sequences !== undefined || length !== undefined || sensitivity !== undefined;
}

/** Whether the user asked for a calibration, now or earlier with `kvquant calibrate`. */
export async function isCalibrationChosen(model: LanguageModel, asked: AskedCalibration): Promise<boolean> {
  return isAsked(asked) || (await readKeptCalibration(model))?.chosen === true;
}

/** The settings a calibration will have: as asked, else as kept for the model, else defaults. */
export async function chooseCalibration(
  model: LanguageModel,
  asked: Pick<CalibrateOptions, "data" | "dataOption" | "sequences" | "length" | "sensitivity">,
): Promise<CalibrationSettings> {
  const { data, sequences, length, sensitivity } = asked;
  if (!isAsked(asked)) {
    const kept = await readKeptCalibration(model);
    if (kept !== undefined) return kept;
  }
  const windowLength = length ?? Math.min(defaultLength, model.config.contextLength);
  return {
    ...(data === undefined ? {} : { data: resolve(data) }),
    sequences: sequences ?? (await defaultWindows(model, windowLength, asked)),
    length: windowLength,
    sensitivity: sensitivity ?? "fisher",
  };
}

/** Up to four; one window of the shipped text is left over, so that evaluation has something it was not fitted to. */
async function defaultWindows(model: LanguageModel, length: number, asked: Pick<CalibrateOptions, "data" | "dataOption">): Promise<number> {
  const tokens = await readTokens(model, asked.data, asked.dataOption);
  const most = Math.floor(tokens.length / length) - (asked.data === undefined ? 1 : 0);
  return Math.max(1, Math.min(defaultSequences, most));
}
