/** Loads a model for one command and frees it afterwards. */

import { loadModel } from "@kvquant/model";
import type { LanguageModel, LoadModelOptions, ResolveOptions, ResolveProgress } from "@kvquant/model";
import type { Context } from "./context.js";
import { formatBytes } from "./format.js";
import type { ModelOptions } from "./options.js";
import type { UpdateProgress } from "./progress.js";

/** Loads `name`, runs `work` and disposes the model, whatever happens. */
export async function withModel<Result>(
  name: string,
  options: ModelOptions & { readonly context: Context },
  work: (model: LanguageModel) => Promise<Result>,
): Promise<Result> {
  const { context } = options;
  const model = await context.progress.run(
    `loading ${name}`,
    (update) => loadModel(name, { ...resolveOptions(options, update), ...engineOptions(options), threads: options.threads, onWarning: (message) => context.progress.note(message) }),
    describeModel,
  );
  try {
    return await work(model);
  } finally {
    await model.dispose();
  }
}

/** What a model is run with besides threads; workers get the same. */
export type EngineSettings = Pick<LoadModelOptions, "engine" | "isa" | "attention" | "backends" | "exactProducts">;

/** Options of running a model. */
export function engineOptions({ engine, isa, attention, backends, products }: ModelOptions): EngineSettings {
  return { engine, isa, attention, backends, exactProducts: products === "exact" ? "all" : "none" };
}

/** Options of finding a model, with its steps shown. */
export function resolveOptions(options: ModelOptions & { readonly context: Context }, update: UpdateProgress): ResolveOptions {
  return { offline: options.offline === true, signal: options.context.signal, onProgress: (step) => showProgress(step, update) };
}

/** Totals of this many bytes and more are shown as bytes. */
const countedBytes = 100_000;

function showProgress({ stage, done, total }: ResolveProgress, update: UpdateProgress): void {
  update(total === 0 ? 0 : done / total, total < countedBytes ? stage : `${stage}, ${formatBytes(done)} of ${formatBytes(total)}`);
}

function describeModel({ config, engine }: LanguageModel): string {
  return `${config.architecture}, ${config.layers} layers, ${config.kvHeads} KV heads of ${config.headDim}, context ${config.contextLength}, engine ${engine}`;
}
