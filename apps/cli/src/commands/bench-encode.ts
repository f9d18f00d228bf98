/** `kvquant bench encode`: what compressing a token costs. */

import { Command } from "commander";
import { loadCustomQuantizers } from "@kvquant/artifacts";
import { describeMachine, formatMachine } from "../bench/machine.js";
import type { Machine } from "../bench/machine.js";
import { measureEncoding } from "../bench/measure-encoding.js";
import type { EncodingRow } from "../bench/measure-encoding.js";
import { parsePresetChoices } from "../bench/parse-presets.js";
import { createContext } from "../context.js";
import type { Io } from "../io.js";
import { addCommonOptions, addQuantizerOption, integerFrom } from "../options.js";
import type { CommonOptions, QuantizerOptions } from "../options.js";
import { formatTable } from "../table.js";

interface BenchEncodeOptions extends CommonOptions, QuantizerOptions {
  readonly caches: string;
  readonly repeats: number;
}

interface EncodingReport extends Machine {
  readonly rows: readonly EncodingRow[];
}

/** SmolLM2-135M and Llama-3-8B. */
const sizes = [
  { kvHeads: 3, headDim: 64 },
  { kvHeads: 8, headDim: 128 },
] as const;

export function benchEncodeCommand(io: Io): Command {
  const command = new Command("encode")
    .description("Times the encoding of pages on one thread, natively where there are kernels, for each token and layer.")
    .option("--caches <list>", "presets", "kvq4,kvq3,kvq2,nuq4-1%,nuq3-1%,nuq2-1%,nuq3-1%+fb")
    .option("--repeats <count>", "timings of 16 pages each, of which the median counts", integerFrom(1), 15);
  return addCommonOptions(addQuantizerOption(command)).action((options: BenchEncodeOptions) => benchEncode(options, io));
}

async function benchEncode(options: BenchEncodeOptions, io: Io): Promise<void> {
  const custom = await loadCustomQuantizers(options.quantizer);
  const presets = parsePresetChoices(options.caches, custom).filter((choice) => choice.kind === "preset");
  const context = createContext(io, options);
  const machine = describeMachine();
  const rows = await context.progress.run("encoding pages", async (update) => {
    let done = 0;
    const onPreset = (preset: string): void => update(done++ / (sizes.length * presets.length), preset);
    const measurement = { presets, quantizers: custom.quantizers, rounds: options.repeats, signal: context.signal, onPreset };
    const measured: EncodingRow[] = [];
    for (const size of sizes) measured.push(...(await measureEncoding(size, measurement)));
    return measured;
  });
  const report: EncodingReport = { ...machine, rows };
  context.print(formatReport(report));
  context.printJson(report);
}

function formatReport(report: EncodingReport): string {
  const columns = ["head dim", "kv heads", "cache", "code", "keys us", "values us", "us/token/layer", "ns/value"].map((title) => ({ title, align: title === "cache" || title === "code" ? ("left" as const) : ("right" as const) }));
  const cells = report.rows.map((row) => [
    String(row.headDim),
    String(row.kvHeads),
    row.cache,
    row.code,
    row.keyMicroseconds.toFixed(2),
    row.valueMicroseconds.toFixed(2),
    row.microsecondsPerToken.toFixed(2),
    ((row.microsecondsPerToken * 1000) / (2 * row.kvHeads * row.headDim)).toFixed(2),
  ]);
  return `${formatMachine(report)}, one thread\n\n${formatTable(columns, cells)}`;
}
