/** `POST /v1/chat/completions` */

import { randomUUID } from "node:crypto";
import type { Hono } from "hono";
import { readJson } from "../http/read-json.js";
import { runAnswer } from "../http/run-answer.js";
import { checkTextLength, findModel } from "../http/server-context.js";
import type { AppEnvironment, ServerContext } from "../http/server-context.js";
import { takeTurn } from "../http/take-turn.js";
import type { ServedModel } from "../models/served-model.js";
import { ApiError } from "../openai/api-error.js";
import { chatAnswer } from "../openai/chat-answer.js";
import { chatRequestSchema, toChatMessages } from "../openai/chat-request.js";
import type { ChatRequest } from "../openai/chat-request.js";
import { checkChoices } from "../openai/check-choices.js";
import { answerTokens, generationOptions } from "../openai/generation-options.js";
import { parseRequest } from "../openai/parse-request.js";

export function chatCompletions(app: Hono<AppEnvironment>, server: ServerContext): void {
  app.post("/v1/chat/completions", async (context) => {
    const body = parseRequest(chatRequestSchema, await readJson(context.req.raw, server.configuration.limits.bodyBytes));
    const model = findModel(server, body.model, context.get("record"));
    const count = checkChoices(body, 1, server.configuration.limits);
    if (body.top_logprobs !== undefined && body.logprobs !== true) throw new ApiError(400, "top_logprobs: expected logprobs true beside it", { param: "top_logprobs" });
    const prompt = await takeTurn(() => encodeConversation(model, body));
    const maxAsked = body.max_completion_tokens ?? body.max_tokens;
    const options = generationOptions({ ...body, max_tokens: maxAsked }, model);
    const maxTokens = answerTokens(model, prompt.length, { asked: maxAsked, param: "messages" });
    const choices = Array.from({ length: count }, (_, index) => {
      const asked = options(index);
      return { ...asked, stop: [...(asked.stop ?? []), ...model.chat.stops], prompt, promptIndex: 0, maxTokens, ...(body.logprobs === true && { logprobs: body.top_logprobs ?? 0 }) };
    });
    const format = chatAnswer({
      id: `chatcmpl-${randomUUID()}`,
      model: model.name,
      created: Math.floor(Date.now() / 1000),
      tokenizer: model.tokenizer,
      parseCalls: offersTools(body) && model.chat.callFormat !== undefined,
      parallelCalls: body.parallel_tool_calls !== false,
      logprobs: body.logprobs === true,
    });
    return runAnswer(context, server, { model, choices, format, stream: body.stream === true, includeUsage: body.stream_options?.include_usage === true });
  });
}

function offersTools(body: ChatRequest): boolean {
  return body.tools !== undefined && body.tools.length > 0 && body.tool_choice !== "none";
}

/** Tokens of a conversation. @throws ApiError 400 for tools that the model's template has no place for */
export function encodeConversation(model: ServedModel, body: ChatRequest): Int32Array {
  if (offersTools(body) && !model.chat.takesTools) {
    throw new ApiError(400, `tools: expected none, because the chat template of model ${model.name} has no place for them, got ${body.tools!.length}; leave them out, or serve a model whose template takes tools`, { code: "tools_not_supported", param: "tools" });
  }
  const messages = toChatMessages(body);
  checkTextLength(model, messages.reduce((sum, { content }) => sum + content.length, 0), "messages");
  return model.chat.encode(messages, offersTools(body) ? body.tools! : undefined);
}
