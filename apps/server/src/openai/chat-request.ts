/** The body of `/v1/chat/completions`. */

import type { ChatMessage, ChatToolCall } from "@kvquant/model";
import { z } from "zod";
import { isDeeper, mostLevels } from "../http/json-depth.js";
import { ApiError } from "./api-error.js";
import { maximumLogprobs, sharedFields } from "./request-fields.js";

const textPart = z.object({ type: z.literal("text", `expected "text", the only kind of content this server reads`), text: z.string("expected a string") });
const contentWords = "expected a string, or a list of parts of type text";
const content = z.union([z.string(), z.array(textPart)], contentWords);
const name = z.string("expected a string").max(256, "expected at most 256 characters").nullish();

const call = z.object({
  id: z.string("expected a string"),
  type: z.literal("function"),
  function: z.object({ name: z.string("expected a string"), arguments: z.string("expected JSON as a string") }),
});

const message = z.discriminatedUnion(
  "role",
  [
    z.object({ role: z.enum(["system", "developer", "user"]), content, name }),
    z.object({ role: z.literal("assistant"), content: content.nullish(), name, tool_calls: z.array(call, "expected a list of tool calls").nullish(), refusal: z.string().nullish() }),
    z.object({ role: z.literal("tool"), content, tool_call_id: z.string("expected the id of a call"), name }),
  ],
  "expected a message whose role is system, developer, user, assistant or tool",
);

const tool = z.object({
  type: z.literal("function", `expected "function"`),
  function: z.object({
    name: z.string("expected a string").regex(/^[\w.-]{1,64}$/, "expected 1 to 64 letters, digits, dots, dashes or underscores"),
    description: z.string("expected a string").nullish(),
    parameters: z.record(z.string(), z.unknown(), "expected a JSON schema").nullish(),
    strict: z.boolean("expected true or false").nullish(),
  }),
});

/** What clients may send. */
export const chatRequestSchema = z.strictObject(
  {
    ...sharedFields,
    messages: z.array(message, "expected a list of messages").min(1, "expected at least one message").max(10_000, "expected at most 10000 messages"),
    max_completion_tokens: sharedFields.max_tokens,
    logprobs: z.boolean("expected true or false").optional(),
    top_logprobs: z.int(`expected an integer from 0 to ${maximumLogprobs}`).min(0).max(maximumLogprobs, `expected an integer from 0 to ${maximumLogprobs}`).optional(),
    tools: z.array(tool, "expected a list of tools").max(128, "expected at most 128 tools").optional(),
    tool_choice: z.enum(["auto", "none"], `expected "auto" or "none": an answer cannot be forced to call a tool`).optional(),
    parallel_tool_calls: z.boolean("expected true or false").optional(),
    response_format: z.object({ type: z.literal("text", `expected "text": answers are not held to a grammar`) }, "expected an object").optional(),
    modalities: z.array(z.literal("text", `expected "text"`), "expected a list").optional(),
  },
  "expected an object",
);

/** A checked body. */
export type ChatRequest = z.output<typeof chatRequestSchema>;

/** The conversation as templates read it. @throws ApiError 400 for arguments of a call that are no JSON */
export function toChatMessages(request: ChatRequest): ChatMessage[] {
  return request.messages.map((given, index): ChatMessage => {
    const shared = { content: joinParts(given.content), ...(typeof given.name === "string" && { name: given.name }) };
    if (given.role === "tool") return { ...shared, role: "tool", tool_call_id: given.tool_call_id };
    if (given.role !== "assistant") return { ...shared, role: given.role === "developer" ? "system" : given.role };
    const calls = given.tool_calls ?? [];
    if ((given.content ?? undefined) === undefined && calls.length === 0) throw new ApiError(400, `messages.${index}.content: expected text, or tool_calls instead of it, got neither`, { param: `messages.${index}.content` });
    return { ...shared, role: "assistant", ...(calls.length > 0 && { tool_calls: calls.map((entry, at) => toCall(entry, `messages.${index}.tool_calls.${at}`)) }) };
  });
}

function joinParts(given: z.output<typeof content> | null | undefined): string {
  return typeof given === "string" ? given : (given ?? []).map(({ text }) => text).join("");
}

function toCall({ id, function: made }: z.output<typeof call>, where: string): ChatToolCall {
  let value: unknown;
  try {
    value = made.arguments === "" ? {} : JSON.parse(made.arguments);
  } catch {
    throw new ApiError(400, `${where}.function.arguments: expected JSON, got ${JSON.stringify(made.arguments.slice(0, 60))}`, { param: `${where}.function.arguments` });
  }
  if (isDeeper(value)) throw new ApiError(400, `${where}.function.arguments: expected JSON of at most ${mostLevels} levels, got more`, { param: `${where}.function.arguments` });
  return { id, type: "function", function: { name: made.name, arguments: value } };
}
