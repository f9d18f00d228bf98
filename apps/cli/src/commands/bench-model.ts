/** `kvquant bench model`: decode and prefill speed of a whole model. */

import { availableParallelism } from "node:os";
import { Command, Option } from "commander";
import { openCaches, readTokens } from "@kvquant/artifacts";
import type { NamedCache } from "@kvquant/artifacts";
import { loadModel, resolveModel } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import { KvquantError } from "@kvquant/spec";
import { describeMachine } from "../bench/machine.js";
import { measureModel } from "../bench/measure-model.js";
import { measureRandom } from "../bench/measure-random.js";
import { formatModelReport } from "../bench/model-report.js";
import type { ModelReport, ModelRow } from "../bench/model-report.js";
import { shapeNames } from "../bench/model-shapes.js";
import type { ShapeName } from "../bench/model-shapes.js";
import { parsePresets } from "../bench/parse-presets.js";
import { findPeer } from "../bench/peer.js";
import { parseCacheChoices } from "../cache-choice.js";
import { createContext } from "../context.js";
import type { Context } from "../context.js";
import type { Io } from "../io.js";
import { addCalibrationOptions, addCommonOptions, integerFrom, integersFrom } from "../options.js";
import type { CalibrationOptions, CommonOptions } from "../options.js";
import { UsageError } from "../usage-error.js";
import { resolveOptions } from "../with-model.js";

interface BenchModelOptions extends CommonOptions, CalibrationOptions {
  readonly random?: ShapeName;
  readonly caches?: string;
  readonly depths?: readonly number[];
  readonly prefill?: readonly number[];
  readonly threads: readonly number[];
  readonly batch: number;
  readonly steps: number;
  readonly rounds: number;
  readonly peer?: boolean;
  readonly data?: string;
  readonly calibrationData?: string;
  readonly offline?: boolean;
}

const defaults = {
  model: { caches: "fp16,kvq3", depths: [256, 1024, 8064] },
  random: { caches: "fp16,kvq4,kvq3,kvq2", depths: [32_768] },
};

export function benchModelCommand(io: Io): Command {
  const command = new Command("model")
    .description("Times decoding and prefill of a whole model with each cache, interleaved.")
    .argument("[model]", "name or path of a model")
    .addOption(new Option("--random <shape>", "in place of a model, random weights of this shape and caches of random tokens").choices(shapeNames))
    .option("--caches <list>", `fp16, presets and .kvq files (default: ${defaults.model.caches}; with --random ${defaults.random.caches})`)
    .option("--depths <list>", `tokens in the cache when decoding starts (default: ${defaults.model.depths.join()}; with --random ${defaults.random.depths.join()})`, integersFrom(1))
    .option("--threads <list>", "threads", integersFrom(1), availableParallelism() === 1 ? [1] : [1, availableParallelism()])
    .option("--prefill <list>", "prompts of these lengths, in rows of their own", integersFrom(1))
    .option("--batch <count>", "rows beside the others with so many sequences, each with a cache of its own, decoded in one step", integerFrom(1), 1)
    .option("--steps <count>", "steps of one timing", integerFrom(1), 16)
    .option("--rounds <count>", "timings of each cache, of which the median counts", integerFrom(1), 5)
    .option("--peer", "llama.cpp beside ours, with an f16 cache and flash attention, and with q4_0 (in a checkout of the repository, where tools/compare-llama-cpp is installed)")
    .option("--data <file>", "text that fills the caches (default: the text that ships for the model)")
    .option("--calibration-data <file>", "text for presets that have no calibration yet")
    .option("--offline", "use files already on this machine only");
  return addCommonOptions(addCalibrationOptions(command)).action((name: string | undefined, options: BenchModelOptions) => benchModel(name, options, io));
}

async function benchModel(name: string | undefined, options: BenchModelOptions, io: Io): Promise<void> {
  const { random } = options;
  if ((name === undefined) === (random === undefined)) throw new UsageError(`bench model: expected either a model or --random <shape>, got ${name === undefined ? "neither" : "both"}`);
  for (const option of ["peer", "prefill", "data", "calibrationData"] as const) {
    if (random !== undefined && options[option] !== undefined) throw new UsageError(`--random: expected no ${option === "calibrationData" ? "--calibration-data" : `--${option}`} beside it, which needs a model`);
  }
  const context = createContext(io, options);
  const rows = random === undefined ? await benchLoaded(name!, options, context) : await benchRandom(random, options, context);
  const report: ModelReport = { ...describeMachine(), model: name ?? `random weights, ${random}`, rows };
  context.print(formatModelReport(report));
  context.printJson(report);
}

async function benchRandom(shape: ShapeName, options: BenchModelOptions, context: Context): Promise<ModelRow[]> {
  const caches = parsePresets(options.caches ?? defaults.random.caches);
  const { depths = defaults.random.depths, steps, rounds, batch } = options;
  describeMachine();
  const rows: ModelRow[] = [];
  for (const threads of options.threads) {
    const title = `${shape}, ${threads} thread${threads === 1 ? "" : "s"}`;
    rows.push(...(await context.progress.run(title, (update) => measureRandom(shape, { caches, depths, threads, steps, rounds, batch, signal: context.signal, onShare: update }))));
  }
  return rows;
}

async function benchLoaded(name: string, options: BenchModelOptions, context: Context): Promise<ModelRow[]> {
  const choices = parseCacheChoices(options.caches ?? defaults.model.caches);
  const { depths = defaults.model.depths, prefill: prompts = [], steps, rounds, batch } = options;
  describeMachine();
  const peerPath = options.peer === true ? await findPeerModel(name, options, context) : undefined;
  const rows: ModelRow[] = [];
  let caches: NamedCache[] | undefined;
  for (const threads of options.threads) {
    await using model = await load(name, threads, { options, context });
    caches ??= await openCaches(model, choices, { ...options, data: options.calibrationData, dataOption: "--calibration-data", context });
    const text = await readTokens(model, options.data, "--data");
    const measurement = { caches, sinkTokens: options.sinks, text, depths, prompts, threads, steps, rounds, batch, peerPath, signal: context.signal };
    rows.push(...(await context.progress.run(`${name}, ${threads} thread${threads === 1 ? "" : "s"}`, (update) => measureModel(model, { ...measurement, onShare: update }))));
  }
  return rows;
}

function load(name: string, threads: number, { options, context }: { readonly options: BenchModelOptions; readonly context: Context }): Promise<LanguageModel> {
  return context.progress.run(
    `loading ${name} on ${threads} thread${threads === 1 ? "" : "s"}`,
    (update) => loadModel(name, { ...resolveOptions({ offline: options.offline === true, context }, update), threads, engine: "native", onWarning: (message) => context.progress.note(message) }),
    ({ engine }) => engine,
  );
}

/** Fails before anything is measured when the peer cannot take part. */
async function findPeerModel(name: string, options: BenchModelOptions, context: Context): Promise<string> {
  findPeer();
  const { path } = await resolveModel(name, resolveOptions({ offline: options.offline === true, context }, () => undefined));
  if (!path.endsWith(".gguf")) throw new KvquantError("UNSUPPORTED", `--peer: expected a GGUF file, which llama.cpp reads, got ${path}`);
  return path;
}
