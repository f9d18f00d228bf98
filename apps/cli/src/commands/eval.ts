/** `kvquant eval <model>`: perplexity and KL divergence of caches, and with --suite everything else about their fidelity. */

import { availableParallelism } from "node:os";
import { Command } from "commander";
import { chooseCalibration, loadCustomQuantizers, openCaches, readTokens } from "@kvquant/artifacts";
import type { EvaluationReport } from "@kvquant/eval";
import type { LanguageModel } from "@kvquant/model";
import { parseCacheChoices } from "../cache-choice.js";
import { createContext } from "../context.js";
import { formatOptional } from "../format.js";
import { formatScores, SCORE_TITLES } from "../format-scores.js";
import type { Io } from "../io.js";
import { evaluateInWorkers } from "../parallel/evaluate-in-workers.js";
import { referenceFolder } from "../reference-folder.js";
import { addCalibrationOptions, addJobsOption, addModelOptions, addQuantizerOption, integerFrom, integersFrom } from "../options.js";
import type { CalibrationOptions, ModelOptions, QuantizerOptions } from "../options.js";
import { needsText, runSuiteCommand } from "../suite/run-suite-command.js";
import { addSuiteOptions, checkSuiteArguments } from "../suite/suite-arguments.js";
import type { SuiteArguments } from "../suite/suite-arguments.js";
import { formatTable } from "../table.js";
import type { Column } from "../table.js";
import { engineOptions, withModel } from "../with-model.js";

interface EvalOptions extends ModelOptions, CalibrationOptions, QuantizerOptions, SuiteArguments {
  readonly caches: string;
  readonly data?: string;
  readonly calibrationData?: string;
  readonly context: number;
  readonly windows?: number;
  readonly tail: readonly number[];
  readonly jobs: number;
}

const defaultWindows = 8;

export function evalCommand(io: Io): Command {
  const command = new Command("eval")
    .description("Measures perplexity, and KL divergence to the fp16 cache of the same engine, over windows of a text.")
    .argument("<model>", "name or path of a model")
    .option("--caches <list>", "fp16, presets and .kvq files, divided by commas", "fp16,nuq4-1%,nuq3-1%,nuq2-1%,kvq3")
    .option("--data <file>", "text to score (default: what calibration leaves of the text that ships for the model)")
    .option("--context <tokens>", "tokens of a window", integerFrom(2), 2048)
    .option("--windows <count>", "windows (default: 8, or what the text has)", integerFrom(1))
    .option("--tail <tokens>", "newest tokens a query sees exact; 0: all are compressed; several, divided by commas, give rows for each", integersFrom(0), [64])
    .option("--calibration-data <file>", "text for presets that have no calibration yet");
  return addSuiteOptions(addJobsOption(addModelOptions(addCalibrationOptions(addQuantizerOption(command)), "exact"), 1)).action((name: string, options: EvalOptions) => {
    checkSuiteArguments(options, (option) => command.getOptionValueSource(option) === "cli");
    return options.suite === undefined ? runEval(name, options, io) : runEvalSuite(name, { ...options, suite: options.suite }, io);
  });
}

async function runEvalSuite(name: string, options: EvalOptions & Required<Pick<EvalOptions, "suite">>, io: Io): Promise<void> {
  const custom = await loadCustomQuantizers(options.quantizer);
  const choices = parseCacheChoices(options.caches, custom);
  const context = createContext(io, options);
  await withModel(name, { ...options, context }, async (model) => {
    const tokens = needsText(options.suite) ? await readScoredTokens(model, options) : undefined;
    const caches = await openCaches(model, choices, { ...options, data: options.calibrationData, dataOption: "--calibration-data", context });
    const worker = { model: name, engine: engineOptions(options), threads: options.threads ?? availableParallelism(), quantizerFiles: options.quantizer ?? [] };
    await runSuiteCommand(model, { ...options, parts: options.suite, caches: caches.map((cache) => ({ ...cache, quantizers: custom.quantizers })), tokens, windows: options.windows, tails: options.tail, worker, context });
  });
}

async function runEval(name: string, options: EvalOptions, io: Io): Promise<void> {
  const custom = await loadCustomQuantizers(options.quantizer);
  const choices = parseCacheChoices(options.caches, custom);
  const context = createContext(io, options);
  await withModel(name, { ...options, context }, async (model) => {
    const tokens = await readScoredTokens(model, options);
    const caches = await openCaches(model, choices, { ...options, data: options.calibrationData, dataOption: "--calibration-data", context });
    const report = await context.progress.run(`evaluating ${caches.length} caches`, (update) =>
      evaluateInWorkers(model, {
        jobs: options.jobs,
        modelName: name,
        quantizers: custom.quantizers,
        quantizerFiles: options.quantizer ?? [],
        engine: engineOptions(options),
        threads: options.threads ?? availableParallelism(),
        caches,
        tokens,
        context: options.context,
        windows: options.windows ?? defaultWindows,
        tails: options.tail,
        referenceFolder: referenceFolder(),
        signal: context.signal,
        onNotice: (message) => context.progress.note(message),
        onShare: update,
      }),
    );
    const { windows } = report.protocol;
    if (options.windows !== undefined && windows < options.windows) context.progress.note(`the text fills ${windows} windows of ${options.context}, not ${options.windows}`);
    context.print(formatReport(report));
    context.printJson(report);
  });
}

/** The tokens to score; of the shipped text, which calibration reads too, those that calibration leaves. */
export async function readScoredTokens(model: LanguageModel, options: Pick<EvalOptions, "data" | "calibrationData" | keyof CalibrationOptions>): Promise<Int32Array> {
  const tokens = await readTokens(model, options.data, "--data");
  if (options.data !== undefined) return tokens;
  const { data, sequences, length } = await chooseCalibration(model, { ...options, data: options.calibrationData, dataOption: "--calibration-data" });
  return data === undefined ? tokens.subarray(sequences * length) : tokens;
}

const columns: readonly Column[] = [
  { title: "cache", align: "left" },
  ...["tail", "bits/value", "keys", "values", "bytes/token", ...SCORE_TITLES].map((title) => ({ title, align: "right" }) as const),
];

function formatReport(report: EvaluationReport): string {
  const { context, windows } = report.protocol;
  const cells = report.rows.map((row) => [
    row.cache,
    String(row.tail),
    formatOptional(row.bitsPerValue, (bits) => bits.toFixed(2)),
    formatOptional(row.keyBits, (bits) => bits.toFixed(2)),
    formatOptional(row.valueBits, (bits) => bits.toFixed(2)),
    row.cacheBytesPerToken.toFixed(0),
    ...formatScores(row),
  ]);
  return `${report.model} on ${report.engine}, ${windows} x ${context} tokens, divergence from the fp16 cache of the same engine\n\n${formatTable(columns, cells)}`;
}
