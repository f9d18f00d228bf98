/** `kvquant demo`: one table of what compressed caches save and cost, and two answers to compare. */

import { availableParallelism } from "node:os";
import { Command } from "commander";
import { KvquantError } from "@kvquant/spec";
import { createContext } from "../context.js";
import type { Context } from "../context.js";
import { formatDemoTable } from "../demo/demo-table.js";
import { runDemo } from "../demo/run-demo.js";
import type { DemoReport } from "../demo/run-demo.js";
import { formatSeconds } from "../format.js";
import type { Io } from "../io.js";
import { addJobsOption, addModelOptions } from "../options.js";
import type { ModelOptions } from "../options.js";
import { engineOptions, withModel } from "../with-model.js";

interface DemoOptions extends ModelOptions {
  readonly model?: string;
  readonly jobs: number;
}

const defaultModel = "smollm2";
const embeddedModel = "tiny";

export function demoCommand(io: Io): Command {
  const command = new Command("demo")
    .description("Calibrates a small model, prints what compressed caches save and cost, and lets two of them answer a question.")
    .option("--model <model>", `name or path of a model (default: ${defaultModel}, or ${embeddedModel} where nothing can be downloaded)`);
  return addJobsOption(addModelOptions(command, "exact"), Math.min(2, availableParallelism())).action((options: DemoOptions) => demo(options, io));
}

async function demo(options: DemoOptions, io: Io): Promise<void> {
  const context = createContext(io, options);
  const started = performance.now();
  const report = await runOnModel(options, context);
  const seconds = (performance.now() - started) / 1000;
  context.progress.note(`demo: ${formatSeconds(seconds)} in all`);
  context.printJson({ ...report, seconds });
}

/** Runs on the model asked for; the default gives way to the embedded one, aloud, where it cannot be had. */
async function runOnModel(options: DemoOptions, context: Context): Promise<DemoReport> {
  const { jobs, threads = availableParallelism() } = options;
  const onRows = (report: DemoReport): void => context.print(formatDemoTable(report));
  const run = (name: string) => withModel(name, { ...options, context }, (model) => runDemo(model, { context, modelName: name, engine: engineOptions(options), jobs, threads, onRows }));
  if (options.model !== undefined) return run(options.model);
  try {
    return await run(defaultModel);
  } catch (error) {
    if (!KvquantError.isInstance(error) || error.code !== "UNAVAILABLE") throw error;
    context.progress.note(`${defaultModel} cannot be had here: ${error.message}\nusing the embedded model ${embeddedModel} instead; its figures say little about larger models`);
    return run(embeddedModel);
  }
}
