/** Loads a model of the configuration and makes its engine. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { loadCustomQuantizers, openCaches, parseCacheChoice } from "@kvquant/artifacts";
import type { PreparationProgress } from "@kvquant/artifacts";
import { createServingEngine } from "@kvquant/engine";
import type { EngineEvent, PageStore, ServingEngine } from "@kvquant/engine";
import { checkContext, loadModel } from "@kvquant/model";
import type { LanguageModel, ModelCacheOptions } from "@kvquant/model";
import { KvquantError, PAGE_TOKENS } from "@kvquant/spec";
import { createChatFormat } from "../chat/chat-format.js";
import type { ChatFormat } from "../chat/chat-format.js";
import type { Configuration, ModelConfiguration } from "../configuration/schema.js";
import { createFidelityMonitor } from "../fidelity/fidelity-monitor.js";
import type { FidelityMonitor } from "../fidelity/fidelity-monitor.js";
import { createFidelityScorer } from "../fidelity/score-fidelity.js";
import { errorFields } from "../http/logger.js";
import type { Logger } from "../http/logger.js";
import type { ServedModel } from "./served-model.js";

/** What a model is opened with. */
export interface OpenModelOptions {
  readonly configuration: Configuration;
  readonly store: PageStore | undefined;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** True when no engine of the server runs or waits for anything. */
  readonly isIdle: () => boolean;
}

/** A served model that owns what it is made of. */
export interface OpenedModel extends ServedModel {
  /** Ends the engine and frees the model. */
  close(): Promise<void>;
}

/**
 * Loads a model, finds or fits its cache, and starts its engine.
 * @throws UNAVAILABLE for a model that cannot be had, with what to do; INVALID_ARGUMENT, MODEL_MISMATCH, CORRUPT_DATA, UNSUPPORTED
 */
export async function openModel(settings: ModelConfiguration, options: OpenModelOptions): Promise<OpenedModel> {
  const { logger, configuration, signal, store } = options;
  const name = settings.name ?? settings.source;
  const note = (message: string): void => logger.log("info", "model", { model: name, message });
  const custom = await loadCustomQuantizers(settings.quantizers, "quantizers");
  const choice = parseCacheChoice(settings.cache, custom);
  const configuredTemplate = await readTemplate(settings.chatTemplate);
  const model = await load(settings, options, note);
  try {
    const contextLimit = settings.context ?? model.config.contextLength;
    const warning = checkContext(model.config, contextLimit);
    if (warning !== undefined) logger.log("warn", "model", { model: name, message: warning });
    const [opened] = await openCaches(model, [choice], { sinks: settings.sinks, dataOption: "kvquant calibrate --data", context: { signal, progress: logProgress(logger, name) } });
    const { artifact } = opened!;
    const chat = openChat(model, configuredTemplate, (message) => logger.log("warn", "model", { model: name, message }));
    const cache: ModelCacheOptions = { artifact, quantizers: custom.quantizers, sinkTokens: settings.sinks, tailTokens: settings.tail };
    const engine = createServingEngine({
      model,
      ...cache,
      cacheBytes: settings.cacheBytes,
      stepTokens: settings.stepTokens,
      maxSequences: settings.maxSequences,
      maxWaiting: settings.maxWaiting,
      prefixReuse: settings.prefixReuse,
      snapshotTokens: settings.snapshotTokens,
      store,
      onEvent: (event) => logEvent(logger, name, event),
    });
    warmTokenizer(model);
    if (chat.template === "plain" && settings.chatTemplate === undefined) note("the model has no chat template: messages are written as plain lines of role and text");
    const monitor = artifact === "fp16" || configuration.fidelity.share === 0 ? undefined : startMonitor(model, cache, { ...options, name, engine });
    return {
      name,
      source: settings.source,
      created: Math.floor(Date.now() / 1000),
      tokenizer: model.tokenizer,
      vocabulary: Math.min(model.tokenizer.vocabulary, model.config.vocabulary),
      contextLimit,
      maxWaiting: settings.maxWaiting,
      engine,
      chat,
      ...(monitor !== undefined && { monitor }),
      async close() {
        await monitor?.stop();
        await engine.dispose();
        await model.dispose();
      },
    };
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

async function load(settings: ModelConfiguration, { configuration, logger, signal }: OpenModelOptions, note: (message: string) => void): Promise<LanguageModel> {
  const { source, threads, engine, products } = settings;
  let stage = "";
  try {
    return await loadModel(source, {
      threads,
      engine,
      exactProducts: products === "exact" ? "all" : "none",
      offline: configuration.offline,
      signal,
      onProgress: (step) => {
        if (step.stage !== stage) logger.log("debug", "loading", { model: source, stage: step.stage });
        stage = step.stage;
      },
      onWarning: note,
    });
  } catch (error) {
    if (!KvquantError.isInstance(error) || error.code !== "UNAVAILABLE") throw error;
    throw new KvquantError("UNAVAILABLE", `${error.message}\nWithout a network, --model tiny serves the small model that comes with the project, and --model path/to/model.gguf one of your own.`, { cause: error });
  }
}

function startMonitor(model: LanguageModel, compressed: ModelCacheOptions, options: OpenModelOptions & { readonly name: string; readonly engine: ServingEngine }): FidelityMonitor {
  const { configuration, logger, isIdle, name } = options;
  const { share, tokens, positions, threshold } = configuration.fidelity;
  return createFidelityMonitor({
    share,
    tokens,
    threshold,
    leastTokens: (compressed.sinkTokens ?? sinksOf(compressed)) + PAGE_TOKENS + (compressed.tailTokens ?? 64) + 1,
    isIdle,
    score: createFidelityScorer(model, { compressed, positions }),
    onThreshold({ over, kldMean, kldMax, samples }) {
      logger.log(over ? "warn" : "info", over ? "fidelity-over-threshold" : "fidelity-back-under-threshold", { model: name, kldMean, kldMax, samples, threshold });
    },
    onFailure: (error) => logger.log("error", "fidelity-failed", { model: name, ...errorFields(error) }),
  });
}

function sinksOf({ artifact }: ModelCacheOptions): number {
  return artifact === "fp16" ? 0 : artifact.sinkTokens;
}

/** Encodes some text, so that the first request does not wait for the tokenizer's code to be compiled. */
function warmTokenizer({ tokenizer }: LanguageModel): void {
  for (let id = 0; id < Math.min(4096, tokenizer.vocabulary); id += 16) {
    const texts = Array.from({ length: 16 }, (_, index) => tokenizer.tokenText(id + index) ?? "");
    tokenizer.encode(texts.join(" "), { addSpecial: false });
    tokenizer.encode(texts.join(" "), { addSpecial: false, parseSpecial: false });
  }
}

/** The chat format, tried on one message: a template of the operator's that fails is an error now, the model's own a warning, for completions need none. */
function openChat({ tokenizer }: LanguageModel, configured: string | undefined, warn: (message: string) => void): ChatFormat {
  const chat = createChatFormat(tokenizer, configured);
  try {
    chat.encode([{ role: "user", content: "Hello" }]);
  } catch (error) {
    if (chat.template === "configured") throw error;
    warn(`chats will be refused: ${(error as Error).message}`);
  }
  return chat;
}

async function readTemplate(given: string | undefined): Promise<string | undefined> {
  if (given === undefined || given === "plain") return given;
  if (!existsSync(given)) throw new KvquantError("IO_ERROR", `chatTemplate: expected the path of a Jinja template, or plain, got ${given}, which is not there`);
  return readFile(given, "utf8");
}

/** Long stages of a preparation as log lines. */
function logProgress(logger: Logger, model: string): PreparationProgress {
  return {
    note: (message) => logger.log("info", "model", { model, message }),
    async run(title, work, summarize) {
      logger.log("info", "model", { model, message: title });
      const result = await work(() => undefined);
      logger.log("info", "model", { model, message: `${title}: ${summarize?.(result) ?? "done"}` });
      return result;
    },
  };
}

function logEvent(logger: Logger, model: string, event: EngineEvent): void {
  const { type, ...fields } = event;
  if (type === "damaged" || type === "store-failed" || type === "failed") {
    const { error, ...rest } = fields as { readonly error?: unknown };
    logger.log("warn", `engine-${type}`, { model, ...rest, ...(error !== undefined && errorFields(error)) });
  } else if (type !== "step") logger.log("debug", `engine-${type}`, { model, ...fields });
}
