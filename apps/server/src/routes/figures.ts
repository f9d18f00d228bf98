/** Routes that only tell: health, metrics, cache, fidelity, history. */

import type { Hono } from "hono";
import type { AppEnvironment, ServerContext } from "../http/server-context.js";
import { hitRate } from "../metrics/server-metrics.js";
import type { ServedModel } from "../models/served-model.js";

export function figures(app: Hono<AppEnvironment>, server: ServerContext): void {
  const perModel = (read: (model: ServedModel) => object): object => ({ models: Object.fromEntries(server.models.map((model) => [model.name, read(model)])) });

  // 503 while draining, so that balancers send nothing new.
  app.get("/health", (context) => {
    const draining = server.isDraining();
    return context.json({ status: draining ? "draining" : "ok", models: server.models.map(({ name }) => name) }, draining ? 503 : 200);
  });

  app.get("/metrics", async (context) => context.text(await server.metrics.registry.metrics(), 200, { "content-type": server.metrics.registry.contentType }));

  app.get("/v1/cache", (context) =>
    context.json(
      perModel(({ source, contextLimit, engine }) => {
        const stats = engine.stats();
        return { ...stats, source, contextLimit, hitRate: hitRate(stats) };
      }),
    ),
  );

  app.get("/v1/fidelity", (context) => context.json(perModel(({ monitor }) => ({ enabled: monitor !== undefined, ...monitor?.figures() }))));

  app.get("/v1/metrics/history", (context) => context.json(server.history.report()));
}
