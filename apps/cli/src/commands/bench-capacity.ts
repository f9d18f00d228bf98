/** `kvquant bench capacity`: how many sequences fit a budget of cache memory at once. */

import { Command } from "commander";
import { openCaches, readTokens } from "@kvquant/artifacts";
import { parseCacheChoices } from "../cache-choice.js";
import { measureCapacity } from "../bench/measure-capacity.js";
import type { Capacity } from "../bench/measure-capacity.js";
import { createContext } from "../context.js";
import { formatBytes } from "../format.js";
import type { Io } from "../io.js";
import { addModelOptions, integerFrom } from "../options.js";
import type { ModelOptions } from "../options.js";
import { formatTable } from "../table.js";
import { withModel } from "../with-model.js";

interface BenchCapacityOptions extends ModelOptions {
  readonly caches: string;
  readonly tokens: number;
  readonly memory: number;
  readonly data?: string;
}

export function benchCapacityCommand(io: Io): Command {
  const command = new Command("capacity")
    .description("Lets the serving engine run as many sequences as fit a budget of cache memory, and says how many that were.")
    .argument("[model]", "name or path of a model", "smollm2")
    .option("--caches <list>", "fp16, presets and .kvq files, each in turn", "fp16,nuq4-1%,kvq3,kvq2")
    .option("--tokens <count>", "tokens of a sequence", integerFrom(256), 4096)
    .option("--memory <mib>", "MiB that all caches may take together", integerFrom(1), 256)
    .option("--data <file>", "text that prompts are cut from (default: the text that ships for the model)");
  return addModelOptions(command).action((name: string, options: BenchCapacityOptions) => benchCapacity(name, options, io));
}

async function benchCapacity(name: string, options: BenchCapacityOptions, io: Io): Promise<void> {
  const context = createContext(io, options);
  const { tokens, memory } = options;
  await withModel(name, { ...options, context }, async (model) => {
    const text = await readTokens(model, options.data, "--data");
    const caches = await openCaches(model, parseCacheChoices(options.caches), { dataOption: "--data", context });
    const rows: (Capacity & { readonly cache: string })[] = [];
    for (const { name: cache, artifact } of caches) {
      const capacity = await context.progress.run(`${cache}: sequences of ${tokens} tokens in ${memory} MiB`, (update) =>
        measureCapacity(model, { artifact, tokens, cacheBytes: memory * 2 ** 20, text, signal: context.signal, onSequences: (sequences) => update(0, `${sequences} so far`) }),
      );
      rows.push({ cache, ...capacity });
    }
    const columns = ["at once", "tokens of each", "taken", "preempted"].map((title) => ({ title, align: "right" as const }));
    context.print(formatTable([{ title: "cache", align: "left" }, ...columns], rows.map((row) => [row.cache, `${row.isLeast ? "at least " : ""}${row.sequences}`, `${row.shortest}-${row.longest}`, formatBytes(row.cacheBytes), String(row.preemptions)])));
    context.printJson({ model: model.name, tokens, memoryBytes: memory * 2 ** 20, rows });
  });
}
