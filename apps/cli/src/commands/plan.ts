/** `kvquant plan <model>`: bits for each layer's keys and values, under a bound of divergence, bits or memory. */

import { Command } from "commander";
import { calibrate, fitPlan, pricePlan } from "@kvquant/artifacts";
import { evaluateCaches, planFront, renderPlanReport, solvePlan, verifyPlan } from "@kvquant/eval";
import type { Calibration, EvaluationReport, Plan, PlanBounds, PlanInput, PlanRound } from "@kvquant/eval";
import { writeFileAtomically } from "@kvquant/model";
import type { LanguageModel } from "@kvquant/model";
import { encodeArtifact } from "@kvquant/quant";
import type { KvqArtifact } from "@kvquant/quant";
import { createContext } from "../context.js";
import type { Context } from "../context.js";
import { formatBytes, formatOptional, formatSmall } from "../format.js";
import type { Io } from "../io.js";
import { addCalibrationOptions, addModelOptions, integerFrom, numberWithin } from "../options.js";
import type { CalibrationOptions, ModelOptions } from "../options.js";
import { referenceFolder } from "../reference-folder.js";
import { artifactPath, checkWritable } from "../result-path.js";
import { UsageError } from "../usage-error.js";
import { withModel } from "../with-model.js";
import { readScoredTokens } from "./eval.js";
import { formatFront, formatPlan } from "./plan-output.js";
import { parseBytes, parseTokens } from "./plan-sizes.js";

interface PlanOptions extends ModelOptions, CalibrationOptions {
  readonly context?: number;
  readonly memory?: number;
  readonly maxKld?: number;
  readonly bits?: number;
  readonly tail: number;
  readonly output?: string;
  readonly report?: string;
  readonly verify: boolean;
  readonly data?: string;
  readonly window?: number;
  readonly windows: number;
  readonly calibrationData?: string;
}

const defaultBits = 3;
const defaultWindow = 2048;

export function planCommand(io: Io): Command {
  const command = new Command("plan")
    .description("Chooses a quantizer and bits for the keys and values of each layer, runs the plan, and writes it as a .kvq artifact.")
    .argument("<model>", "name or path of a model")
    .option("--max-kld <nats>", "the cheapest plan with at most this KL divergence a token, every token compressed; measured, unless --no-verify", numberWithin({ above: 0 }))
    .option("--bits <number>", `at most this many bits a value (default: ${defaultBits}, when nothing else is asked for)`, numberWithin({ above: 0 }))
    .option("--memory <size>", "at most this much for the cache, such as 24GiB", parseBytes)
    .option("--context <tokens>", "length that the memory is for, such as 256k (default: the model's context)", parseTokens)
    .option("--tail <tokens>", "newest tokens kept exact: counted in the memory, and measured beside the divergence without tail", integerFrom(1), 64)
    .option("-o, --output <file>", "where the artifact goes (default: <model>-plan.kvq)")
    .option("--report <file>", "also write a page with the plan and its Pareto front drawn, such as plan.html")
    .option("--no-verify", "do not run the plan")
    .option("--data <file>", "text to run it on (default: what calibration leaves of the text that ships for the model)")
    .option("--window <tokens>", `tokens of a window of that text (default: ${defaultWindow}, or the model's context)`, integerFrom(2))
    .option("--windows <count>", "windows at most", integerFrom(1), 1)
    .option("--calibration-data <file>", "text for a model that has no calibration yet");
  return addModelOptions(addCalibrationOptions(command), "exact").action((name: string, options: PlanOptions) => runPlan(name, options, io));
}

async function runPlan(name: string, options: PlanOptions, io: Io): Promise<void> {
  const context = createContext(io, options);
  if (!options.verify && options.data !== undefined) throw new UsageError("--data: expected a plan that is run, got --no-verify; leave one of them out");
  await withModel(name, { ...options, context }, async (model) => {
    const path = await artifactPath(model.name, "plan", options.output);
    if (options.report !== undefined) await checkWritable(options.report);
    const scored = options.verify ? await readScoredTokens(model, options) : undefined;
    const calibration = await calibrate(model, { ...options, data: options.calibrationData, dataOption: "--calibration-data", context });
    const { sinkTokens } = calibration.statistics;
    const length = { tokens: options.context ?? model.config.contextLength, tailTokens: options.tail, sinkTokens };
    const input = await pricePlan(model, { calibration, length, context });
    const found = await findPlan(model, options, { input, calibration, scored, context });
    await presentPlan(model, options, { ...found, input, path, context });
  });
}

/** A plan, and what its run said, if there was one. */
interface FoundPlan {
  readonly plan: Plan;
  readonly artifact: KvqArtifact;
  readonly rounds: readonly (PlanRound & { readonly report: EvaluationReport })[];
}

interface FindOptions {
  readonly input: PlanInput;
  readonly calibration: Calibration;
  /** Undefined: the plan is not run. */
  readonly scored: Int32Array | undefined;
  readonly context: Context;
}

async function findPlan(model: LanguageModel, options: PlanOptions, { input, calibration, scored, context }: FindOptions): Promise<FoundPlan> {
  const bounds = boundsOf(options);
  if (scored === undefined) {
    const plan = solvePlan(input, bounds);
    return { plan, artifact: fitPlan(model, plan, calibration), rounds: [] };
  }
  const runs: { artifact: KvqArtifact; report: EvaluationReport }[] = [];
  const done = await verifyPlan(input, bounds, {
    measure: async (plan) => {
      const artifact = fitPlan(model, plan, calibration);
      const report = await runArtifact(model, artifact, { ...options, scored, cliContext: context });
      runs.push({ artifact, report });
      return report.rows[0]!.kldMean;
    },
    onRound: ({ plan, measuredKld }) => {
      const verdict = options.maxKld === undefined ? "" : measuredKld <= options.maxKld ? `, within ${options.maxKld}` : `, above ${options.maxKld}`;
      context.progress.note(`${plan.bitsPerValue.toFixed(3)} bits/value: KL divergence predicted ${formatSmall(plan.predictedKld)}, measured ${formatSmall(measuredKld)}${verdict}`);
    },
  });
  const { artifact } = runs.at(-1)!;
  const { plan, measuredKld } = done.at(-1)!;
  return { plan, artifact: { ...artifact, plan: { ...artifact.plan!, measuredKld } }, rounds: done.map((round, index) => ({ ...round, report: runs[index]!.report })) };
}

function boundsOf({ maxKld, bits, memory }: PlanOptions): PlanBounds {
  return maxKld === undefined && bits === undefined && memory === undefined ? { bits: defaultBits } : { maxKld, bits, memoryBytes: memory };
}

/** Rows of the artifact without tail and with it. */
function runArtifact(model: LanguageModel, artifact: KvqArtifact, options: PlanOptions & { readonly scored: Int32Array; readonly cliContext: Context }): Promise<EvaluationReport> {
  const { cliContext, scored } = options;
  return cliContext.progress.run(`running ${artifact.cache}`, (update) =>
    evaluateCaches(model, {
      caches: [{ name: artifact.cache, artifact }],
      tokens: scored,
      context: windowOf(model, options),
      windows: options.windows,
      tails: [0, options.tail],
      referenceFolder: referenceFolder(),
      signal: cliContext.signal,
      onNotice: (message) => cliContext.progress.note(message),
      onProgress: ({ done, total, stage, tail }) => update(done / total, tail === undefined ? stage : `${stage}, tail ${tail}`),
    }),
  );
}

function windowOf(model: LanguageModel, { window }: PlanOptions): number {
  return window ?? Math.min(defaultWindow, model.config.contextLength);
}

async function presentPlan(model: LanguageModel, options: PlanOptions, found: FoundPlan & { readonly input: PlanInput; readonly path: string; readonly context: Context }): Promise<void> {
  const { plan, artifact, rounds, input, path, context } = found;
  const front = planFront(input);
  const bytes = encodeArtifact(artifact);
  await writeFileAtomically(path, bytes);
  const last = rounds.at(-1);
  const [noTail, tail] = last?.report.rows ?? [];
  const { tokens } = input.length;
  if (options.report !== undefined) {
    const page = renderPlanReport({ model: model.name, cache: artifact.cache, plan, front, tokens, measured: rounds.map(({ plan: one, measuredKld }) => ({ bitsPerValue: one.bitsPerValue, kld: measuredKld })) });
    await writeFileAtomically(options.report, Buffer.from(page));
  }
  context.print(`${formatPlan(plan)}\n${formatFront(front, tokens)}\n`);
  context.print(
    `${artifact.cache} for ${model.name}: ${plan.bitsPerValue.toFixed(3)} bits/value, ${formatBytes(plan.cacheBytes)} at ${tokens} tokens\n` +
      `KL divergence without tail: predicted ${formatSmall(plan.predictedKld)}, measured ${formatOptional(noTail?.kldMean, formatSmall)}; with a tail of ${options.tail}: measured ${formatOptional(tail?.kldMean, formatSmall)}\n` +
      `${path}: ${formatBytes(bytes.length)}${options.report === undefined ? "" : `; ${options.report}`}\n`,
  );
  context.printJson({
    model: model.name,
    cache: artifact.cache,
    path,
    plan: plan.tensors.map(({ layer, side, option, bits, damage }) => ({ layer, side, option, bits, damage })),
    bitsPerValue: plan.bitsPerValue,
    predictedKld: plan.predictedKld,
    measuredKld: noTail?.kldMean,
    measuredKldError: noTail?.kldError,
    measuredKldTail: tail?.kldMean,
    measuredBitsPerValue: noTail?.bitsPerValue,
    cacheBytes: plan.cacheBytes,
    context: tokens,
    tail: options.tail,
    rounds: rounds.map(({ plan: one, measuredKld }) => ({ bitsPerValue: one.bitsPerValue, predictedKld: one.predictedKld, measuredKld })),
    protocol: last?.report.protocol,
    pareto: front,
  });
}
