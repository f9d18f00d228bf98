/** The server as a function from requests to responses, testable without a socket. */

import { Hono } from "hono";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { createAuthorize } from "./http/authorize.js";
import { createRequestRecord } from "./http/request-record.js";
import type { AppEnvironment, ServerContext } from "./http/server-context.js";
import { ApiError, errorBody, toApiError } from "./openai/api-error.js";
import { publicFiles } from "./public-files.js";
import { chatCompletions } from "./routes/chat-completions.js";
import { completions } from "./routes/completions.js";
import { figures } from "./routes/figures.js";
import { models } from "./routes/models.js";
import { sessions } from "./routes/sessions.js";
import { tokenize } from "./routes/tokenize.js";

/** Addresses as metrics name them; anything else is `other`, so that a client cannot make up labels. */
const endpoints = ["/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/tokenize", "/v1/sessions", "/v1/cache", "/v1/fidelity", "/v1/metrics/history", "/health", "/metrics"];
/** Needs no key: balancers look at the first; the dashboard's files hold no data. */
const open = (path: string): boolean => path === "/health" || !(path.startsWith("/v1/") || path === "/v1" || path === "/metrics");

/** The app of a server. */
export function createApp(server: ServerContext): Hono<AppEnvironment> {
  const app = new Hono<AppEnvironment>();
  const { apiKeys, origins } = server.configuration;
  const authorize = createAuthorize(apiKeys);

  app.use(async (context, next) => {
    const { path, method } = context.req;
    const endpoint = endpoints.find((known) => path === known || path.startsWith(`${known}/`)) ?? "other";
    const record = createRequestRecord({ method, path, endpoint, givenId: context.req.header("x-request-id"), logger: server.logger, metrics: server.metrics });
    context.set("record", record);
    await next();
    context.header("x-request-id", record.id);
    allowOrigin(context, origins);
    if (!record.streaming) record.end(context.res.status);
  });
  app.use(async (context, next) => {
    const isPreflight = context.req.method === "OPTIONS" && context.req.header("access-control-request-method") !== undefined;
    if (isPreflight) return context.body(null, 204);
    if (!open(context.req.path)) authorize(context.req.header("authorization"));
    return next();
  });

  for (const route of [chatCompletions, completions, models, tokenize, sessions, figures]) route(app, server);
  publicFiles(app);

  app.notFound((context) => answerError(context, notFound(context)));
  app.onError((error, context) => {
    const failure = toApiError(error);
    context.get("record").failure ??= error;
    return answerError(context, failure);
  });
  return app;
}

function allowOrigin(context: Context<AppEnvironment>, origins: readonly string[]): void {
  const origin = context.req.header("origin");
  if (origin === undefined || !(origins.includes("*") || origins.includes(origin))) return;
  context.header("access-control-allow-origin", origin);
  context.header("vary", "origin");
  context.header("access-control-allow-headers", context.req.header("access-control-request-headers") ?? "authorization, content-type");
  context.header("access-control-allow-methods", "GET, POST, DELETE, OPTIONS");
  context.header("access-control-expose-headers", "x-request-id");
}

/** 405 for a known address with another method. */
function notFound({ req }: Context<AppEnvironment>): ApiError {
  const expected = endpoints.includes(req.path) ? (/completions$|tokenize$/.test(req.path) ? "POST" : "GET") : undefined;
  if (expected !== undefined && req.method !== expected) return new ApiError(405, `${req.path}: expected ${expected}, got ${req.method}`, { code: "method_not_allowed" });
  return new ApiError(404, `expected an address of this server, got ${req.method} ${req.path.slice(0, 200)}`, { code: "not_found" });
}

function answerError(context: Context<AppEnvironment>, error: ApiError): Response {
  if (error.status === 429 || error.status === 503) context.header("retry-after", "1");
  // What is left of the body is not read: the connection cannot be used again.
  if (error.status === 413) context.header("connection", "close");
  // 499 is not registered, but what proxies write; nobody is there to read it.
  return context.json(errorBody(error), error.status as ContentfulStatusCode);
}
