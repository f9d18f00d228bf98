/** `POST /v1/completions` */

import { randomUUID } from "node:crypto";
import type { Hono } from "hono";
import { readJson } from "../http/read-json.js";
import { runAnswer } from "../http/run-answer.js";
import { checkTextLength, findModel } from "../http/server-context.js";
import type { AppEnvironment, ServerContext } from "../http/server-context.js";
import { takeTurn } from "../http/take-turn.js";
import { ApiError } from "../openai/api-error.js";
import { checkChoices } from "../openai/check-choices.js";
import { completionAnswer } from "../openai/completion-answer.js";
import { completionRequestSchema, listPrompts, toPrompts } from "../openai/completion-request.js";
import { answerTokens, generationOptions } from "../openai/generation-options.js";
import { parseRequest } from "../openai/parse-request.js";

/** What OpenAI's interface generates when nothing is said. */
const defaultTokens = 16;

export function completions(app: Hono<AppEnvironment>, server: ServerContext): void {
  app.post("/v1/completions", async (context) => {
    const body = parseRequest(completionRequestSchema, await readJson(context.req.raw, server.configuration.limits.bodyBytes));
    const model = findModel(server, body.model, context.get("record"));
    const count = checkChoices(body, listPrompts(body).length, server.configuration.limits);
    if (body.best_of !== undefined && body.best_of !== count) throw new ApiError(400, `best_of: expected ${count}, the same as n, got ${body.best_of}`, { param: "best_of" });
    if (body.echo === true && body.logprobs !== undefined) throw new ApiError(400, "logprobs: expected none beside echo, because prompts are not scored", { param: "logprobs" });
    const prompts = await takeTurn(() => toPrompts(body, { tokenizer: model.tokenizer, checkText: (text, param) => checkTextLength(model, text.length, param) }));
    const options = generationOptions(body, model);
    const choices = prompts.flatMap(({ tokens }, promptIndex) =>
      Array.from({ length: count }, (_, index) => {
        const room = model.contextLimit - tokens.length;
        const maxTokens = answerTokens(model, tokens.length, { asked: body.max_tokens ?? (room >= 1 ? Math.min(defaultTokens, room) : undefined), param: "prompt" });
        return { ...options(promptIndex * count + index), prompt: tokens, promptIndex, maxTokens, ...(body.logprobs !== undefined && { logprobs: body.logprobs }) };
      }),
    );
    const format = completionAnswer({
      id: `cmpl-${randomUUID()}`,
      model: model.name,
      created: Math.floor(Date.now() / 1000),
      tokenizer: model.tokenizer,
      logprobs: body.logprobs !== undefined,
      echo: (index) => (body.echo === true ? prompts[Math.floor(index / count)]!.text : ""),
    });
    return runAnswer(context, server, { model, choices, format, stream: body.stream === true, includeUsage: body.stream_options?.include_usage === true });
  });
}
