/** Runs the choices of one request and writes them, at once or as a stream of events. */

import type { GenerationPart } from "@kvquant/engine";
import { KvquantError } from "@kvquant/spec";
import type { Context } from "hono";
import type { ServedModel } from "../models/served-model.js";
import { ApiError, errorBody, toApiError } from "../openai/api-error.js";
import type { AnswerFormat } from "../openai/answer-format.js";
import type { GenerationOptions } from "../openai/generation-options.js";
import { sumUsage } from "../openai/usage.js";
import type { ChoiceUsage, WireUsage } from "../openai/usage.js";
import { createDeadline } from "./deadline.js";
import type { Deadline } from "./deadline.js";
import { mergeParts } from "./merge-parts.js";
import type { RequestRecord } from "./request-record.js";
import type { AppEnvironment, ServerContext } from "./server-context.js";

/** One answer that is wanted. */
export interface WantedChoice extends GenerationOptions {
  readonly prompt: Int32Array;
  /** Which of the request's prompts this is. */
  readonly promptIndex: number;
  readonly maxTokens: number;
}

/** Everything about one request. */
export interface AnswerOptions {
  readonly model: ServedModel;
  readonly choices: readonly WantedChoice[];
  readonly format: AnswerFormat;
  readonly stream: boolean;
  /** A last event with the usage. */
  readonly includeUsage: boolean;
}

/** A stream's headers are sent after this many milliseconds at the latest; until then an error still gets its own status. */
const headerMilliseconds = 10_000;

/** The answer. @throws ApiError for what goes wrong before anything was sent */
export async function runAnswer(context: Context<AppEnvironment>, server: ServerContext, options: AnswerOptions): Promise<Response> {
  const record = context.get("record");
  const deadline = createDeadline({ client: context.req.raw.signal, shutdown: server.shutdown, seconds: server.configuration.limits.requestSeconds });
  const events = produce(server, options, deadline, record);
  if (!options.stream) {
    for (;;) {
      const step = await events.next();
      if (step.done === true) return context.json(step.value);
    }
  }
  // Errors before the first token, such as a full queue, get a status of their own.
  const first = events.next();
  first.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([first, new Promise((resolve) => (timer = setTimeout(resolve, headerMilliseconds)))]).finally(() => clearTimeout(timer));
  record.streaming = true;
  return new Response(eventStream(events, first, { deadline, record }), { headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache, no-transform", "x-accel-buffering": "no" } });
}

/** Yields the events of a stream and returns the body of an answer; lets go of everything at the end. */
async function* produce(server: ServerContext, options: AnswerOptions, deadline: Deadline, record: RequestRecord): AsyncGenerator<object, object, undefined> {
  const { model, choices, format } = options;
  const usages: (ChoiceUsage | undefined)[] = choices.map(() => undefined);
  const tokens = choices.map(() => [] as number[]);
  const writers = choices.map((_, index) => format.choice(index));
  const streamed = options.includeUsage ? null : undefined;
  try {
    // All of them: models share the processors.
    for (const { monitor } of server.models) monitor?.interrupt();
    const generations = submitAll(server, options, deadline.signal);
    const observe = observer(server, model.name, choices.length);
    for await (const { index, part } of mergeParts(generations)) {
      observe(index, part);
      const writer = writers[index]!;
      if (part.type === "start") for (const choice of writer.start()) yield format.chunk([choice], streamed);
      if (part.type === "token") {
        tokens[index]!.push(part.token);
        for (const choice of writer.token(part)) yield format.chunk([choice], streamed);
      }
      if (part.type === "finish") {
        usages[index] = { prompt: choices[index]!.promptIndex, usage: part.usage };
        for (const choice of writer.finish(part)) yield format.chunk([choice], streamed);
      }
    }
    const usage: WireUsage = sumUsage(usages.map((entry) => entry!));
    record.usage = usage;
    model.monitor?.offer(Int32Array.from([...choices[0]!.prompt, ...tokens[0]!]));
    if (options.includeUsage) yield format.chunk([], usage);
    return format.body(writers.map((writer) => writer.whole()), usage);
  } catch (error) {
    record.failure = error;
    throw deadline.error() ?? toApiError(error);
  } finally {
    deadline.cancel();
    deadline.release();
  }
}

/** Submits every choice, or none. */
function submitAll({ isDraining }: ServerContext, { model, choices }: AnswerOptions, signal: AbortSignal): readonly AsyncIterable<GenerationPart>[] {
  if (isDraining()) throw new ApiError(503, "the server is finishing what it has and takes nothing new", { code: "server_shutting_down" });
  try {
    return choices.map(({ promptIndex: _, ...request }) => model.engine.submit({ ...request, signal }));
  } catch (error) {
    if (!KvquantError.isInstance(error) || error.code !== "OUT_OF_CAPACITY") throw error;
    // The engine has one code for both: a queue that is full empties, a request too large stays so.
    if (model.engine.stats().waiting >= model.maxWaiting) throw new ApiError(429, error.message, { code: "queue_full", cause: error });
    throw new ApiError(400, error.message, { code: "cache_capacity_exceeded", cause: error });
  }
}

/** Takes the times of all choices. */
function observer({ metrics, history }: ServerContext, model: string, choices: number): (index: number, part: GenerationPart) => void {
  const last: (number | undefined)[] = new Array<undefined>(choices).fill(undefined);
  return (index, part) => {
    if (part.type === "start") metrics.waited(model, part.waitedSeconds);
    if (part.type === "token") {
      const now = performance.now();
      const before = last[index];
      last[index] = now;
      if (before === undefined) return;
      metrics.tokenGap(model, (now - before) / 1000);
      history.tokenGap((now - before) / 1000);
    }
    if (part.type === "finish") {
      metrics.firstToken(model, part.usage.firstTokenSeconds);
      history.firstToken(part.usage.firstTokenSeconds);
    }
  };
}

/** Server-sent events: every value as JSON, errors too, and `[DONE]` at the end. The reader's pace is the writer's. */
function eventStream(events: AsyncGenerator<object, object, undefined>, first: Promise<IteratorResult<object, object>>, { deadline, record }: { readonly deadline: Deadline; readonly record: RequestRecord }): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const event = (value: unknown): Uint8Array => encoder.encode(`data: ${typeof value === "string" ? value : JSON.stringify(value)}\n\n`);
  let next: Promise<IteratorResult<object, object>> | undefined = first;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const step = await (next ?? events.next());
        next = undefined;
        if (step.done !== true) return controller.enqueue(event(step.value));
        controller.enqueue(event("[DONE]"));
        record.end(200);
      } catch (error) {
        const failure = toApiError(error);
        record.end(failure.status);
        // The status has been sent already, so the error is an event; there is no [DONE] after it.
        controller.enqueue(event(errorBody(failure)));
      }
      controller.close();
    },
    async cancel() {
      deadline.cancel();
      record.end(499);
      await events.return({}).catch(() => undefined);
    },
  });
}
