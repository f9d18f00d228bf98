/** `kvquant generate <model>`: text from a prompt, over a compressed cache. */

import { Command } from "commander";
import { loadCustomQuantizers, openCaches } from "@kvquant/artifacts";
import type { KvCache } from "@kvquant/cache";
import type { LanguageModel } from "@kvquant/model";
import { parseCacheChoice } from "../cache-choice.js";
import { createContext } from "../context.js";
import { formatBytes } from "../format.js";
import type { Io } from "../io.js";
import { addCalibrationOptions, addModelOptions, addQuantizerOption, integerFrom, numberWithin } from "../options.js";
import type { CalibrationOptions, ModelOptions, QuantizerOptions } from "../options.js";
import { encodePrompt } from "../prompt.js";
import { withModel } from "../with-model.js";
import { writeAnswer } from "../write-answer.js";
import type { Answer } from "../write-answer.js";

interface GenerateCommandOptions extends ModelOptions, CalibrationOptions, QuantizerOptions {
  readonly cache: string;
  readonly prompt: string;
  readonly chat?: boolean;
  readonly system?: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  readonly stop?: readonly string[];
  readonly tail: number;
  readonly calibrationData?: string;
}

export function generateCommand(io: Io): Command {
  const command = new Command("generate")
    .description("Generates text from a prompt, with the cache of your choice.")
    .argument("<model>", "name or path of a model")
    .requiredOption("--prompt <text>", "text to go on from, or with --chat the user's message")
    .option("--cache <name>", "fp16, a preset or a .kvq file", "nuq3-1%")
    .option("--chat", "wrap the prompt in the model's chat template")
    .option("--system <text>", "system message, with --chat")
    .option("--max-tokens <count>", "tokens to generate at most", integerFrom(1), 64)
    .option("--temperature <number>", "0 takes the most likely token", numberWithin({ minimum: 0 }), 0)
    .option("--top-p <share>", "keep the likeliest tokens up to this share; 1: all", numberWithin({ above: 0, maximum: 1 }), 1)
    .option("--top-k <count>", "keep this many of the likeliest tokens; 0: all", integerFrom(0), 0)
    .option("--min-p <share>", "drop tokens less likely than this share of the likeliest", numberWithin({ minimum: 0, below: 1 }), 0)
    .option("--repetition-penalty <number>", "above 1 discourages tokens already there", numberWithin({ above: 0 }), 1)
    .option("--seed <number>", "seed of the random choices", integerFrom(0), 0)
    .option("--stop <text...>", "texts that end the generation")
    .option("--tail <tokens>", "newest tokens kept exact", integerFrom(1), 64)
    .option("--calibration-data <file>", "text for a preset that has no calibration yet");
  return addModelOptions(addCalibrationOptions(addQuantizerOption(command))).action((name: string, options: GenerateCommandOptions) => runGenerate(name, options, io));
}

async function runGenerate(name: string, options: GenerateCommandOptions, io: Io): Promise<void> {
  const custom = await loadCustomQuantizers(options.quantizer);
  const choice = parseCacheChoice(options.cache, custom);
  const context = createContext(io, options);
  await withModel(name, { ...options, context }, async (model) => {
    const prompt = encodePrompt(model, options);
    const [opened] = await openCaches(model, [choice], { ...options, data: options.calibrationData, dataOption: "--calibration-data", context });
    using cache = model.createCache({ artifact: opened!.artifact, sinkTokens: options.sinks, tailTokens: options.tail, quantizers: custom.quantizers });
    const { temperature, topP, topK, minP, repetitionPenalty } = options;
    const answer = await writeAnswer(model, cache, {
      prompt,
      maxTokens: options.maxTokens,
      sampling: { temperature, topP, topK, minP, repetitionPenalty },
      seed: options.seed,
      stop: options.stop,
      signal: context.signal,
      onText: (text) => context.print(text),
    });
    context.print("\n");
    const summary = summarize(model, cache, { answer, cacheName: choice.name, promptTokens: prompt.length });
    context.progress.note(
      `${summary.promptTokens} tokens in, ${summary.generatedTokens} out (${summary.finish}), ${summary.tokensPerSecond.toFixed(1)} tokens/s; ` +
        `cache ${choice.name}: ${formatBytes(summary.cacheBytes)}${summary.bitsPerValue === null ? ", no page closed yet" : `, closed pages ${summary.bitsPerValue.toFixed(2)} bits/value`}, attention on ${summary.backends.join(", ")}`,
    );
    context.printJson({ ...summary, prompt: options.prompt });
  });
}

function summarize(model: LanguageModel, cache: KvCache, run: { answer: Answer; cacheName: string; promptTokens: number }) {
  const { answer } = run;
  return {
    model: model.name,
    engine: model.engine,
    cache: run.cacheName,
    text: answer.text,
    tokens: answer.tokens,
    finish: answer.finish,
    promptTokens: run.promptTokens,
    generatedTokens: answer.tokens.length,
    firstTokenSeconds: answer.firstTokenSeconds,
    tokensPerSecond: answer.tokensPerSecond,
    bitsPerValue: cache.bitsPerValue()?.mean ?? null,
    cacheBytes: cache.bytes().total,
    backends: cache.backends(),
  };
}
