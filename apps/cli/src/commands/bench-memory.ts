/** `kvquant bench memory`: what a very long cache takes, and that it can be decoded from. */

import { availableParallelism } from "node:os";
import { Command, Option } from "commander";
import { describeMachine, formatMachine } from "../bench/machine.js";
import type { Machine } from "../bench/machine.js";
import { measureMemory } from "../bench/measure-memory.js";
import type { MemoryReport } from "../bench/measure-memory.js";
import { shapeNames } from "../bench/model-shapes.js";
import type { ShapeName } from "../bench/model-shapes.js";
import { parsePresets } from "../bench/parse-presets.js";
import { createContext } from "../context.js";
import { formatBytes, formatSeconds } from "../format.js";
import type { Io } from "../io.js";
import { addCommonOptions, integerFrom } from "../options.js";
import type { CommonOptions } from "../options.js";
import { formatTable } from "../table.js";
import { UsageError } from "../usage-error.js";

interface BenchMemoryOptions extends CommonOptions {
  readonly tokens: number;
  readonly cache: string;
  readonly shape: ShapeName;
  readonly threads: number;
}

export function benchMemoryCommand(io: Io): Command {
  const command = new Command("memory")
    .description("Fills a cache with pseudo-random keys and values, states what it takes beside what the format says, and decodes from it.")
    .option("--tokens <count>", "length of the cache", integerFrom(256), 1_000_000)
    .option("--cache <name>", "fp16 or a preset", "kvq2")
    .addOption(new Option("--shape <name>", "sizes of a model, or of one of its layers").choices(shapeNames).default("smollm2"))
    .option("--threads <count>", "threads", integerFrom(1), availableParallelism());
  return addCommonOptions(command).action((options: BenchMemoryOptions) => benchMemory(options, io));
}

async function benchMemory(options: BenchMemoryOptions, io: Io): Promise<void> {
  const { tokens, shape, threads } = options;
  const [cache, more] = parsePresets(options.cache);
  if (more !== undefined) throw new UsageError(`--cache: expected one name, got "${options.cache}"`);
  const context = createContext(io, options);
  const machine = describeMachine();
  const report = await context.progress.run(`filling ${tokens} tokens of ${shape} in ${cache}`, (update) => measureMemory({ tokens, shape, cache: cache!, threads, signal: context.signal, onShare: update }));
  context.print(formatReport({ ...machine, ...report }));
  context.printJson({ ...machine, ...report });
}

function formatReport(report: Machine & MemoryReport): string {
  const { bitsPerValue, projectedModelBytes } = report;
  const facts: [string, string][] = [
    ["closed pages by the format", formatBytes(report.formulaBytes)],
    ["allocated", `${formatBytes(report.allocatedBytes)} (${(report.allocatedBytes / report.tokens).toFixed(0)} bytes a token)`],
    ["process grew by", formatBytes(report.residentBytes)],
    ["bits a value, closed pages", bitsPerValue === undefined ? "16" : bitsPerValue.toFixed(3)],
    ["filled in", formatSeconds(report.fillSeconds)],
    ["attention of one token", `${report.decodeMilliseconds.toFixed(1)} ms on ${report.threads} threads`],
    ...(projectedModelBytes === undefined ? [] : ([["all layers and fp16 weights", `${formatBytes(projectedModelBytes)} (${(projectedModelBytes / 1e9).toFixed(1)} GB), projected`]] as [string, string][])),
  ];
  return `${formatMachine(report)}\n${report.tokens} tokens of ${report.shape} (${report.layers} layer${report.layers === 1 ? "" : "s"}) in ${report.cache}\n\n${formatTable([{ title: "what", align: "left" }, { title: "value", align: "left" }], facts)}`;
}
