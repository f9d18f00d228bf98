/** `GET /v1/models` */

import type { Hono } from "hono";
import { findModel } from "../http/server-context.js";
import type { AppEnvironment, ServerContext } from "../http/server-context.js";
import type { ServedModel } from "../models/served-model.js";

export function models(app: Hono<AppEnvironment>, server: ServerContext): void {
  app.get("/v1/models", (context) => context.json({ object: "list", data: server.models.map(describeModel) }));
  // Names may have slashes in them.
  app.get("/v1/models/:name{.+}", (context) => context.json(describeModel(findModel(server, context.req.param("name"), context.get("record")))));
}

function describeModel({ name, source, created, contextLimit, engine, chat }: ServedModel): object {
  const { cache, path, backends } = engine.stats();
  return {
    id: name,
    object: "model",
    created,
    owned_by: "kvquant",
    kvquant: { source, cache, path, backends, context: contextLimit, chat_template: chat.template, tools: chat.takesTools ? (chat.callFormat ?? "as text") : "none" },
  };
}
