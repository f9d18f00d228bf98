/** `kvquant calibrate <model>`: gathers statistics and fits an artifact. */

import { Command } from "commander";
import { calibrate, fitPreset, loadCustomQuantizers } from "@kvquant/artifacts";
import { writeFileAtomically } from "@kvquant/model";
import { encodeArtifact } from "@kvquant/quant";
import { parseCacheChoice } from "../cache-choice.js";
import { createContext } from "../context.js";
import { findModelSinks } from "../find-model-sinks.js";
import { formatBytes } from "../format.js";
import type { Io } from "../io.js";
import { addFitOptions, addModelOptions, addQuantizerOption, integerFrom } from "../options.js";
import type { CalibrationOptions, ModelOptions, QuantizerOptions } from "../options.js";
import { artifactPath } from "../result-path.js";
import { UsageError } from "../usage-error.js";
import { withModel } from "../with-model.js";

interface CalibrateCommandOptions extends ModelOptions, Omit<CalibrationOptions, "sinks">, QuantizerOptions {
  readonly sinks: number | "auto";
  readonly data?: string;
  readonly cache: string;
  readonly output?: string;
}

export function calibrateCommand(io: Io): Command {
  const command = new Command("calibrate")
    .description("Gathers calibration statistics of a model, keeps them, and fits a .kvq artifact to them.")
    .argument("<model>", "name or path of a model")
    .option("--data <file>", "calibration text (default: the text that ships for the model)")
    .option("--cache <preset>", "preset to fit", "nuq3-1%")
    .option("--sinks <count>", "first tokens kept exact, or auto: as many as gather attention", (text) => (text === "auto" ? text : integerFrom(0)(text)), 1)
    .option("-o, --output <file>", "where the artifact goes (default: <model>-<preset>.kvq)");
  return addModelOptions(addFitOptions(addQuantizerOption(command))).action((name: string, options: CalibrateCommandOptions) => runCalibrate(name, options, io));
}

async function runCalibrate(name: string, options: CalibrateCommandOptions, io: Io): Promise<void> {
  const context = createContext(io, options);
  const choice = parseCacheChoice(options.cache, await loadCustomQuantizers(options.quantizer));
  if (choice.kind !== "preset") throw new UsageError(`--cache: expected a preset to fit, got ${options.cache}`);
  await withModel(name, { ...options, context }, async (model) => {
    const path = await artifactPath(model.name, choice.name, options.output);
    const sinks = options.sinks === "auto" ? await findModelSinks(model, { data: options.data, dataOption: "--data", context }) : options.sinks;
    const calibration = await calibrate(model, { ...options, sinks, dataOption: "--data", replace: true, context });
    const artifact = await fitPreset(model, choice.preset, { calibration, context });
    const bytes = encodeArtifact(artifact);
    await writeFileAtomically(path, bytes);
    context.print(`${path}: ${choice.name} for ${model.name}, ${formatBytes(bytes.length)}\n`);
    const { fromCache, seconds, loss } = calibration;
    const { sinkTokens } = artifact;
    context.printJson({ model: artifact.model, cache: artifact.cache, path, bytes: bytes.length, sinkTokens, calibration: { ...artifact.calibration, fromCache, seconds, loss } });
  });
}
