/** `kvquant bench serve`: what parallel clients of a server see, with prefix reuse and without. */

import { Command } from "commander";
import { readTokens } from "@kvquant/artifacts";
import { createTokenizer, openModelFile, resolveModel } from "@kvquant/model";
import { delayQuantile, runLoad, scrapeDelays } from "@kvquant/server";
import type { LoadReport } from "@kvquant/server";
import { startServeProcess } from "../bench/serve-process.js";
import { createContext } from "../context.js";
import type { Context } from "../context.js";
import { formatOptional, formatShare } from "../format.js";
import type { Io } from "../io.js";
import { addCommonOptions, integerFrom } from "../options.js";
import type { CommonOptions } from "../options.js";
import { formatTable } from "../table.js";
import { UsageError } from "../usage-error.js";

interface BenchServeOptions extends CommonOptions {
  readonly caches: string;
  readonly clients: number;
  readonly rounds: number;
  readonly prefix: number;
  readonly question: number;
  readonly tokens: number;
  readonly reuse: string;
  readonly threads?: number;
  readonly cacheBytes?: string;
  readonly url?: string;
  readonly urlModel?: string;
  readonly data?: string;
  readonly offline?: boolean;
}

/** One row of the table. */
interface ServeRow extends LoadReport {
  readonly cache: string;
  readonly reuse: boolean | undefined;
  /** The event loop's lateness in the server, from above; undefined where the server does not tell. */
  readonly loopP99Seconds: number | undefined;
}

export function benchServeCommand(io: Io): Command {
  const command = new Command("serve")
    .description("Sends parallel requests with a shared prefix to a server in a process of its own, or with --url to one that runs, and shows what the clients see.")
    .argument("[model]", "name or path of a model", "smollm2")
    .option("--caches <list>", "fp16, presets and .kvq files, each served in turn", "fp16,kvq4,kvq3")
    .option("--reuse <list>", "prefix reuse: on, off or both", "on,off")
    .option("--clients <count>", "clients at once", integerFrom(1), 8)
    .option("--rounds <count>", "requests of each client, one after another", integerFrom(1), 2)
    .option("--prefix <tokens>", "tokens that all prompts begin with", integerFrom(1), 2000)
    .option("--question <tokens>", "tokens of each prompt after it, different in every request", integerFrom(1), 100)
    .option("--tokens <count>", "tokens of each answer", integerFrom(2), 128)
    .option("--threads <count>", "threads of the server", integerFrom(1))
    .option("--cache-bytes <size>", "memory of the server's caches, such as 256MiB")
    .option("--url <address>", "measure this server instead of starting one; the model then only gives the tokenizer and text of the prompts")
    .option("--url-model <name>", "what that server calls its model (default: the model's name here)")
    .option("--data <file>", "text that prompts are cut from (default: the text that ships for the model)")
    .option("--offline", "use files already on this machine only");
  return addCommonOptions(command).action((model: string, options: BenchServeOptions) => benchServe(model, options, io));
}

async function benchServe(name: string, options: BenchServeOptions, io: Io): Promise<void> {
  const context = createContext(io, options);
  const reuse = parseReuse(options.reuse);
  const address = options.url === undefined ? undefined : parseAddress(options.url);
  const { prefix, questions } = await cutPrompts(name, options);
  const measure = async (url: string, row: Pick<ServeRow, "cache" | "reuse">): Promise<ServeRow> => {
    const before = await scrapeDelays(url);
    const { clients, rounds, tokens } = options;
    const title = `${row.cache}${row.reuse === undefined ? "" : `, reuse ${row.reuse ? "on" : "off"}`}: ${clients} clients, ${clients * rounds} requests`;
    const report = await context.progress.run(title, (update) =>
      runLoad({ url, model: options.url === undefined ? name : (options.urlModel ?? name), clients, rounds, prefix, questions, tokens, signal: context.signal, onDone: (done) => update(done / (clients * rounds)) }),
    );
    const after = await scrapeDelays(url);
    return { ...row, ...report, loopP99Seconds: before === undefined || after === undefined ? undefined : delayQuantile(before, after, 0.99) };
  };
  const rows: ServeRow[] = [];
  if (address !== undefined) rows.push(await measure(address, { cache: address, reuse: undefined }));
  else for (const cache of options.caches.split(",")) for (const on of reuse) rows.push(await withServer(name, { cache, on, options, context }, (url) => measure(url, { cache, reuse: on })));
  context.print(describe(rows, options));
  context.printJson({ model: name, clients: options.clients, rounds: options.rounds, prefix: options.prefix, question: options.question, tokens: options.tokens, rows });
}

async function withServer<Result>(name: string, given: { cache: string; on: boolean; options: BenchServeOptions; context: Context }, work: (url: string) => Promise<Result>): Promise<Result> {
  const { cache, on, options, context } = given;
  const args = ["--model", name, "--cache", cache, "--prefix-reuse", String(on), "--fidelity-share", "0", "--max-sequences", String(Math.max(32, options.clients))];
  if (options.threads !== undefined) args.push("--threads", String(options.threads));
  if (options.cacheBytes !== undefined) args.push("--cache-bytes", options.cacheBytes);
  if (options.offline === true) args.push("--offline");
  const server = await context.progress.run(`starting a server with ${cache}`, () => startServeProcess(args), ({ url }) => url);
  try {
    return await work(server.url);
  } finally {
    await server.close();
  }
}

function parseReuse(list: string): boolean[] {
  const parts = list.split(",");
  if (!parts.every((part) => part === "on" || part === "off")) throw new UsageError(`--reuse: expected on, off or on,off, got "${list}"`);
  return parts.map((part) => part === "on");
}

/** Without slashes at its end, for paths follow. */
function parseAddress(url: string): string {
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) throw new UsageError(`--url: expected an address such as http://127.0.0.1:8080, got "${url}"`);
  return url.replace(/\/+$/, "");
}

/** Prompts of the asked numbers of tokens, give or take those at the seams; what the server counts is what the table says. */
async function cutPrompts(name: string, options: BenchServeOptions): Promise<{ prefix: string; questions: string[] }> {
  const resolved = await resolveModel(name, { offline: options.offline === true });
  const file = await openModelFile(resolved.path);
  try {
    const tokenizer = createTokenizer(file.tokenizerSource);
    const tokens = await readTokens({ name: resolved.name, tokenizer }, options.data, "--data");
    const count = options.clients * options.rounds;
    const needed = options.prefix + options.question * count;
    if (tokens.length < needed) throw new UsageError(`--data: expected a text of at least ${needed} tokens, got ${tokens.length}; give a longer one, or ask for less`);
    const cut = (start: number, length: number): string => tokenizer.decode(tokens.subarray(start, start + length));
    return { prefix: cut(0, options.prefix), questions: Array.from({ length: count }, (_, index) => cut(options.prefix + index * options.question, options.question)) };
  } finally {
    file.close();
  }
}

function describe(rows: readonly ServeRow[], { clients, rounds, tokens }: BenchServeOptions): string {
  const right = (title: string) => ({ title, align: "right" as const });
  const milliseconds = (seconds: number): string => (seconds * 1000).toFixed(0);
  const columns = [{ title: "cache", align: "left" as const }, { title: "reuse", align: "left" as const }, ...["tokens/s", "first token ms", "p99", "gap ms", "p99", "prompt tokens", "cached", "loop p99 ms", "seconds"].map(right)];
  const body = rows.map((row) => [
    row.cache,
    row.reuse === undefined ? "-" : row.reuse ? "on" : "off",
    row.tokensPerSecond.toFixed(1),
    milliseconds(row.firstTokenSeconds.median),
    milliseconds(row.firstTokenSeconds.p99),
    milliseconds(row.gapSeconds.median),
    milliseconds(row.gapSeconds.p99),
    String(row.promptTokens),
    row.cachedTokens === undefined ? "-" : formatShare(row.cachedTokens / row.promptTokens),
    formatOptional(row.loopP99Seconds, (seconds) => `<= ${milliseconds(seconds)}`),
    row.seconds.toFixed(1),
  ]);
  return `${clients} clients, ${rounds} requests each, ${tokens} tokens out; tokens/s: generated ones of all clients over the whole time\n\n${formatTable(columns, body)}`;
}
