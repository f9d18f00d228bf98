/** `/v1/sessions`: conversations whose caches are kept. A request keeps one by naming it in its field `session`. */

import type { Hono } from "hono";
import type { SessionInfo } from "@kvquant/engine";
import { findModel } from "../http/server-context.js";
import type { AppEnvironment, ServerContext } from "../http/server-context.js";
import type { ServedModel } from "../models/served-model.js";
import { ApiError } from "../openai/api-error.js";

export function sessions(app: Hono<AppEnvironment>, server: ServerContext): void {
  app.get("/v1/sessions", async (context) => context.json({ object: "list", data: await listSessions(chosenModels(server, context.req.query("model"))) }));

  app.get("/v1/sessions/:id", async (context) => {
    const found = (await listSessions(chosenModels(server, context.req.query("model")))).filter(({ id }) => id === context.req.param("id"));
    if (found.length === 0) throw notFound(context.req.param("id"));
    return context.json(found.length === 1 ? found[0] : { object: "list", data: found });
  });

  app.delete("/v1/sessions/:id", async (context) => {
    const id = context.req.param("id");
    const deleted = await Promise.all(chosenModels(server, context.req.query("model")).map(({ engine }) => engine.deleteSession(id)));
    if (!deleted.includes(true)) throw notFound(id);
    return context.json({ id, object: "session.deleted", deleted: true });
  });
}

/** All models, or the one that `?model=` names. */
function chosenModels(server: ServerContext, name: string | undefined): readonly ServedModel[] {
  return name === undefined ? server.models : [findModel(server, name)];
}

async function listSessions(models: readonly ServedModel[]): Promise<(SessionInfo & { readonly object: "session"; readonly model: string })[]> {
  const lists = await Promise.all(models.map(async ({ name, engine }) => (await engine.listSessions()).map((session) => ({ ...session, object: "session" as const, model: name }))));
  return lists.flat();
}

function notFound(id: string): ApiError {
  return new ApiError(404, `session: expected one that is kept, got ${JSON.stringify(id.slice(0, 100))}`, { code: "session_not_found" });
}
