/** `kvquant serve [model]`: the OpenAI-compatible server. */

import { Command } from "commander";
import { addServerOptions, createLogger, describeConfiguration, loadConfiguration, startServer } from "@kvquant/server";
import type { Io } from "../io.js";
import { UsageError } from "../usage-error.js";

interface ServeCommandOptions extends Record<string, unknown> {
  readonly model?: string;
  readonly showConfig?: boolean;
}

export function serveCommand(io: Io): Command {
  const command = new Command("serve")
    .description("Serves models over HTTP as OpenAI's clients expect, until SIGTERM or Ctrl-C; then finishes what it has. Flags go before the environment, that before the file.")
    .argument("[model]", "name or path of a model, the same as --model")
    .option("--show-config", "print the effective configuration, without keys, and end");
  return addServerOptions(command).action((model: string | undefined, options: ServeCommandOptions) => {
    if (model !== undefined && options.model !== undefined && options.model !== model) throw new UsageError(`serve: expected one model, got ${model} and --model ${options.model}; several are listed in --config`);
    return serve({ ...options, ...(model !== undefined && { model }) }, io);
  });
}

async function serve({ showConfig, ...flags }: ServeCommandOptions, io: Io): Promise<void> {
  const configuration = loadConfiguration({ flags, environment: process.env });
  if (showConfig === true) {
    io.stdout.write(`${JSON.stringify(describeConfiguration(configuration), undefined, 2)}\n`);
    return;
  }
  const { level, format } = configuration.log;
  const logger = createLogger({ level, format: format === "auto" ? (io.stderr.isTTY === true ? "text" : "json") : format, write: (line) => void io.stderr.write(line) });
  const server = await startServer(configuration, { logger, signal: io.signal });
  // For people, and for scripts that asked for a free port.
  io.stdout.write(`listening on ${server.url}\n`);
  await aborted(io.signal);
  await server.close();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
