/** `kvquant bench attention`: decode attention of every cache against fp16. */

import { availableParallelism } from "node:os";
import { Command } from "commander";
import { formatAttentionReport } from "../bench/attention-report.js";
import type { AttentionReport, AttentionRow } from "../bench/attention-report.js";
import { describeMachine, measureBandwidth } from "../bench/machine.js";
import { measureAttention } from "../bench/measure-attention.js";
import { parsePresets } from "../bench/parse-presets.js";
import { createContext } from "../context.js";
import type { Io } from "../io.js";
import { addCommonOptions, integerFrom, integersFrom } from "../options.js";
import type { CommonOptions } from "../options.js";
import type { UpdateProgress } from "../progress.js";

interface BenchAttentionOptions extends CommonOptions {
  readonly headDims: readonly number[];
  readonly groups: readonly number[];
  readonly tokens: readonly number[];
  readonly threads: readonly number[];
  readonly caches: string;
  readonly repeats: number;
  readonly workingSet: number;
}

/** A page and what lies around it. */
const leastTokens = 256;

export function benchAttentionCommand(io: Io): Command {
  const command = new Command("attention")
    .description("Times decode attention alone, against an fp16 flash-decode, with more data than the processor's caches hold; refuses to time a wrong answer.")
    .option("--head-dims <list>", "head dims", integersFrom(16), [64, 128])
    .option("--groups <list>", "query heads of a KV head", integersFrom(1), [1, 3, 4, 6])
    .option("--tokens <list>", "lengths of the cache, such as 4096,32768,131072,524288", integersFrom(leastTokens), [4096, 32768])
    .option("--threads <list>", "threads (default: 1 and all processors)", integersFrom(1), availableParallelism() === 1 ? [1] : [1, availableParallelism()])
    .option("--caches <list>", "presets beside fp16", "fp16,kvq4,kvq3,kvq2,nuq4-1%,nuq3-1%,nuq2-1%")
    .option("--repeats <count>", "rounds in which every cache answers once", integerFrom(1), 15)
    .option("--working-set <MiB>", "what every cache holds at least; take more than twice the processor's last-level cache", integerFrom(1), 64);
  return addCommonOptions(command).action((options: BenchAttentionOptions) => benchAttention(options, io));
}

async function benchAttention(options: BenchAttentionOptions, io: Io): Promise<void> {
  const presets = parsePresets(options.caches).filter((name) => name !== "fp16");
  const { headDims, groups, tokens: lengths, threads, repeats } = options;
  const context = createContext(io, options);
  const machine = describeMachine();
  const readBandwidth = await context.progress.run("reading memory", () => measureBandwidth(threads));
  const measurement = (onShare: UpdateProgress) => ({ presets, threads, rounds: repeats, leastBytes: options.workingSet * 2 ** 20, signal: context.signal, onShare });
  const rows: AttentionRow[] = [];
  for (const headDim of headDims) {
    for (const group of groups) {
      for (const tokens of lengths) {
        const title = `head dim ${headDim}, group ${group}, ${tokens} tokens`;
        rows.push(...(await context.progress.run(title, (update) => measureAttention({ headDim, group, tokens }, measurement(update)))));
      }
    }
  }
  const report: AttentionReport = { ...machine, readBandwidth, rows };
  context.print(formatAttentionReport(report));
  context.printJson(report);
}
