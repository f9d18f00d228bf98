/** Runs one command line and gives back the exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted. */

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { KvquantError } from "@kvquant/spec";
import { benchCommand } from "./commands/bench.js";
import { calibrateCommand } from "./commands/calibrate.js";
import { demoCommand } from "./commands/demo.js";
import { evalCommand } from "./commands/eval.js";
import { generateCommand } from "./commands/generate.js";
import { inspectCommand } from "./commands/inspect.js";
import { newQuantizerCommand } from "./commands/new-quantizer.js";
import { planCommand } from "./commands/plan.js";
import { pullCommand } from "./commands/pull.js";
import { serveCommand } from "./commands/serve.js";
import type { Io } from "./io.js";
import { UsageError } from "./usage-error.js";

/**
 * Runs `kvquant <argv>`; never throws and never ends the process.
 * @param argv what follows the program's name
 */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    await createProgram(io).parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    return reportFailure(error, argv, io);
  }
}

function createProgram(io: Io): Command {
  const program = new Command("kvquant")
    .description("Language models with a KV cache at 2 to 4 bits a value: download, calibrate, measure, generate, serve.")
    .version(packageVersion(), "--version", "show the version")
    .helpCommand("help [command]", "show the help of a command")
    .exitOverride()
    .configureOutput({ writeOut: (text) => void io.stdout.write(text), writeErr: (text) => void io.stderr.write(text) })
    .showHelpAfterError("(--help lists what there is)");
  for (const create of [pullCommand, calibrateCommand, inspectCommand, generateCommand, serveCommand, evalCommand, planCommand, benchCommand, newQuantizerCommand, demoCommand]) {
    program.addCommand(inheritSettings(create(io), program));
  }
  return program;
}

/** Gives a command and those below it the exit and output of their parent. */
function inheritSettings(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent);
  for (const below of command.commands) inheritSettings(below, command);
  return command;
}

/** Of this package's package.json, one level above both src and dist. */
function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  return manifest.version;
}

function reportFailure(error: unknown, argv: readonly string[], io: Io): number {
  if (error instanceof CommanderError && error.exitCode === 0) return 0; // --help, --version
  const { code, message, exitCode } = describeFailure(error, io.signal.aborted);
  // Commander has written its own message and the hint to --help already.
  if (!(error instanceof CommanderError)) io.stderr.write(`error ${code}: ${message}\n`);
  if (argv.includes("--json")) io.stdout.write(`${JSON.stringify({ error: { code, message } }, undefined, 2)}\n`);
  return exitCode;
}

function describeFailure(error: unknown, interrupted: boolean): { code: string; message: string; exitCode: number } {
  if (interrupted) return { code: "CANCELLED", message: "interrupted", exitCode: 130 };
  if (error instanceof CommanderError) return { code: "INVALID_ARGUMENT", message: error.message.replace(/^error: /, ""), exitCode: 2 };
  if (error instanceof UsageError) return { code: "INVALID_ARGUMENT", message: error.message, exitCode: 2 };
  if (KvquantError.isInstance(error)) return { code: error.code, message: error.message, exitCode: 1 };
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: "INTERNAL", message: `${detail}\nThis is a defect of kvquant, please report it.`, exitCode: 1 };
}
