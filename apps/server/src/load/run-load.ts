/** Parallel clients against a server that speaks OpenAI's text completions: this one, or another to compare with. */

import { quantile } from "@kvquant/eval/metrics";
import { KvquantError } from "@kvquant/spec";
import { nameServer } from "./name-server.js";
import { readServerEvents } from "./server-events.js";

/** What is sent. */
export interface LoadOptions {
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly model: string;
  readonly apiKey?: string | undefined;
  readonly clients: number;
  /** Requests of each client, one after another. */
  readonly rounds: number;
  /** Every prompt begins with this. */
  readonly prefix: string;
  /** What follows it, another one for each request: `clients * rounds`. */
  readonly questions: readonly string[];
  /** Tokens of each answer; the model's end does not end it. */
  readonly tokens: number;
  readonly signal?: AbortSignal | undefined;
  readonly onDone?: ((done: number) => void) | undefined;
}

/** What came of it. Times are the clients': sent to received. */
export interface LoadReport {
  readonly requests: number;
  readonly seconds: number;
  readonly promptTokens: number;
  /** Of them, those the server says it did not compute; undefined where it does not say. */
  readonly cachedTokens: number | undefined;
  readonly completionTokens: number;
  /** Tokens of all answers over the whole time. */
  readonly tokensPerSecond: number;
  readonly firstTokenSeconds: Spread;
  /** Between two events of one answer. */
  readonly gapSeconds: Spread;
}

/** Quantiles over requests or gaps. */
export interface Spread {
  readonly median: number;
  readonly p99: number;
  readonly maximum: number;
}

interface Answer {
  readonly firstTokenSeconds: number;
  readonly gaps: readonly number[];
  readonly usage: WireUsage;
}

interface WireUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_tokens_details?: { readonly cached_tokens?: number };
}

/** Runs all clients to their end. @throws UNAVAILABLE when the server answers anything but a whole answer: a figure of half the work is none */
export async function runLoad(options: LoadOptions): Promise<LoadReport> {
  const { clients, rounds, questions } = options;
  const answers: Answer[] = [];
  const started = performance.now();
  const runClient = async (client: number): Promise<void> => {
    for (let round = 0; round < rounds; round++) {
      answers.push(await nameServer(options.url, () => exchange(options, questions[round * clients + client]!), options.signal));
      options.onDone?.(answers.length);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, client) => runClient(client)));
  const seconds = (performance.now() - started) / 1000;
  const sum = (read: (usage: WireUsage) => number): number => answers.reduce((total, { usage }) => total + read(usage), 0);
  const completionTokens = sum(({ completion_tokens: count }) => count);
  const tellsCached = answers.every(({ usage }) => usage.prompt_tokens_details?.cached_tokens !== undefined);
  return {
    requests: answers.length,
    seconds,
    promptTokens: sum(({ prompt_tokens: count }) => count),
    cachedTokens: tellsCached ? sum((usage) => usage.prompt_tokens_details!.cached_tokens!) : undefined,
    completionTokens,
    tokensPerSecond: completionTokens / seconds,
    firstTokenSeconds: spreadOf(answers.map(({ firstTokenSeconds }) => firstTokenSeconds)),
    gapSeconds: spreadOf(answers.flatMap(({ gaps }) => gaps)),
  };
}

async function exchange({ url, model, apiKey, prefix, tokens, signal }: LoadOptions, question: string): Promise<Answer> {
  const started = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }) },
    body: JSON.stringify({ model, prompt: prefix + question, max_tokens: tokens, temperature: 0, ignore_eos: true, stream: true, stream_options: { include_usage: true } }),
    ...(signal !== undefined && { signal }),
  });
  if (!response.ok || response.body === null) throw new KvquantError("UNAVAILABLE", `load: expected answers from ${url}, got ${response.status}: ${(await response.text()).slice(0, 500)}`);
  let last: number | undefined;
  let firstTokenSeconds: number | undefined;
  let usage: WireUsage | undefined;
  const gaps: number[] = [];
  for await (const event of readServerEvents(response.body)) {
    const now = performance.now();
    const { choices = [], usage: told, error } = event as { readonly choices?: readonly { readonly text?: string }[]; readonly usage?: WireUsage | null; readonly error?: unknown };
    if (error !== undefined) throw new KvquantError("UNAVAILABLE", `load: expected a whole answer from ${url}, got an error: ${JSON.stringify(error)}`);
    usage = told ?? usage;
    if (choices.length === 0) continue;
    firstTokenSeconds ??= (now - started) / 1000;
    if (last !== undefined) gaps.push((now - last) / 1000);
    last = now;
  }
  if (usage === undefined || firstTokenSeconds === undefined) throw new KvquantError("UNAVAILABLE", `load: expected an answer with its usage from ${url}, got a stream without`);
  return { firstTokenSeconds, gaps, usage };
}

function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) return { median: 0, p99: 0, maximum: 0 };
  return { median: quantile(values, 0.5), p99: quantile(values, 0.99), maximum: Math.max(...values) };
}
