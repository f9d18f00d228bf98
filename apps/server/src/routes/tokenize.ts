/** `POST /v1/tokenize`: tokens of a text, or of a conversation as the model would see it. */

import type { Hono } from "hono";
import { z } from "zod";
import { readJson } from "../http/read-json.js";
import { checkTextLength, findModel } from "../http/server-context.js";
import type { AppEnvironment, ServerContext } from "../http/server-context.js";
import { takeTurn } from "../http/take-turn.js";
import { ApiError } from "../openai/api-error.js";
import { chatRequestSchema } from "../openai/chat-request.js";
import { parseRequest } from "../openai/parse-request.js";
import { tokenDisplay } from "../openai/token-display.js";
import { encodeConversation } from "./chat-completions.js";

const flag = z.boolean("expected true or false").optional();

const schema = z.strictObject(
  {
    model: chatRequestSchema.shape.model,
    text: z.string("expected a string").optional(),
    messages: chatRequestSchema.shape.messages.optional(),
    tools: chatRequestSchema.shape.tools,
    /** Of a text: whether BOS and the like are added, and whether control tokens written out are read as such. */
    add_special: flag,
    parse_special: flag,
    /** Adds the text of each token. */
    pieces: flag,
  },
  "expected an object",
);

export function tokenize(app: Hono<AppEnvironment>, server: ServerContext): void {
  app.post("/v1/tokenize", async (context) => {
    const { text, messages, tools, ...body } = parseRequest(schema, await readJson(context.req.raw, server.configuration.limits.bodyBytes));
    const model = findModel(server, body.model, context.get("record"));
    if ((text === undefined) === (messages === undefined)) throw new ApiError(400, "text: expected either text or messages, got both or neither", { param: "text" });
    const tokens = await takeTurn(() => {
      if (text === undefined) return encodeConversation(model, { model: body.model, messages: messages!, tools });
      checkTextLength(model, text.length, "text");
      return model.tokenizer.encode(text, { addSpecial: body.add_special ?? true, parseSpecial: body.parse_special ?? true });
    });
    return context.json({
      model: model.name,
      count: tokens.length,
      tokens: Array.from(tokens),
      ...(body.pieces === true && { pieces: Array.from(tokens, (id) => tokenDisplay(model.tokenizer, id)) }),
    });
  });
}
