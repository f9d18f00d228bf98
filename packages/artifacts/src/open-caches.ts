/** Turns names of caches into artifacts: reads files, and fits presets to the model's calibration. */

import { readFile } from "node:fs/promises";
import { makeArtifact } from "@kvquant/eval";
import type { Calibration } from "@kvquant/eval";
import type { LanguageModel } from "@kvquant/model";
import { decodeArtifact } from "@kvquant/quant";
import type { CachePreset, KvqArtifact } from "@kvquant/quant";
import { KvquantError } from "@kvquant/spec";
import { plannedBits } from "./cache-choice.js";
import type { CacheChoice } from "./cache-choice.js";
import { calibrate, isCalibrationChosen } from "./calibration.js";
import type { CalibrateOptions } from "./calibration.js";
import { describeReadError } from "./describe-read-error.js";
import { findReadyArtifact } from "./find-ready-artifact.js";
import { fitPlannedBits } from "./plan-prices.js";
import type { Preparation } from "./preparation.js";

type PresetChoice = Extract<CacheChoice, { kind: "preset" }>;

/** A cache ready to be made. */
export interface NamedCache {
  readonly name: string;
  readonly artifact: KvqArtifact | "fp16";
}

/** Artifacts of all choices in order; presets share one calibration, which is made when the model has none. */
export async function openCaches(model: LanguageModel, choices: readonly CacheChoice[], options: CalibrateOptions): Promise<NamedCache[]> {
  const presets = choices.filter((choice) => choice.kind === "preset");
  const ready = await findReady(model, presets, options);
  const rest = presets.filter(({ name }) => !ready.has(name));
  const fitted = rest.length === 0 ? [] : await fitPresets(model, rest, options);
  const caches: NamedCache[] = [];
  for (const choice of choices) {
    const { kind, name } = choice;
    if (kind === "fp16") caches.push({ name, artifact: "fp16" });
    else if (kind === "file") caches.push({ name, artifact: await readArtifact(name) });
    else caches.push(ready.get(name) ?? fitted[rest.indexOf(choice)]!);
  }
  return caches;
}

/** Artifacts that ship for the model, unless a calibration was asked for or chosen for it earlier. */
async function findReady(model: LanguageModel, presets: readonly PresetChoice[], options: CalibrateOptions): Promise<ReadonlyMap<string, NamedCache>> {
  const ready = new Map<string, NamedCache>();
  if (await isCalibrationChosen(model, options)) return ready;
  for (const { name, preset } of presets) {
    // A quantizer of the user's own may bear the name of a preset.
    if (typeof preset !== "string") continue;
    const artifact = await findReadyArtifact({ fingerprint: model.fingerprint, cache: name, sinkTokens: options.sinks ?? 1 });
    if (artifact !== undefined) ready.set(name, { name, artifact });
  }
  if (ready.size > 0) options.context.progress.note(`${[...ready.keys()].join(", ")}: ready artifact${ready.size === 1 ? "" : "s"} of ${model.name}`);
  return ready;
}

async function fitPresets(model: LanguageModel, presets: readonly PresetChoice[], options: CalibrateOptions): Promise<NamedCache[]> {
  const { progress } = options.context;
  progress.note(`${presets.map(({ name }) => name).join(", ")}: no artifact given, so fitted to the calibration of ${model.name}`);
  const calibration = await calibrate(model, options);
  const fitted: NamedCache[] = [];
  for (const { name, preset } of presets) fitted.push({ name, artifact: await fitPreset(model, preset, { calibration, context: options.context }) });
  return fitted;
}

/**
 * Fits one preset, by name or as an object, and shows that it does.
 * @throws UNSUPPORTED when the calibration lacks what the preset needs; CANCELLED
 */
export function fitPreset(model: LanguageModel, preset: string | CachePreset, options: { readonly calibration: Calibration; readonly context: Preparation }): Promise<KvqArtifact> {
  const { context, calibration } = options;
  const name = typeof preset === "string" ? preset : preset.id;
  if (context.signal.aborted) throw new KvquantError("CANCELLED", `fitting ${name}: interrupted`);
  const bits = typeof preset === "string" ? plannedBits(preset) : undefined;
  if (bits !== undefined) return fitPlannedBits(model, bits, options);
  return context.progress.run(`fitting ${name}`, async () => makeArtifact(model, preset, calibration));
}

/**
 * Reads a `.kvq` file.
 * @throws IO_ERROR when it cannot be read, CORRUPT_DATA when it is not whole
 */
export async function readArtifact(path: string): Promise<KvqArtifact> {
  let bytes;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new KvquantError("IO_ERROR", `artifact: expected a readable .kvq file, got ${describeReadError(error)} for ${path}; check the path, or make one with kvquant calibrate`, { cause: error });
  }
  try {
    return decodeArtifact(bytes);
  } catch (error) {
    throw KvquantError.isInstance(error) ? new KvquantError(error.code, `${path}: ${error.message}`, { cause: error }) : error;
  }
}
