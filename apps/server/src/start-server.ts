/** Starts a server from its configuration, and ends it without losing requests. */

import { createAdaptorServer } from "@hono/node-server";
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { KvquantError } from "@kvquant/spec";
import { describeConfiguration } from "./configuration/load-configuration.js";
import type { Configuration } from "./configuration/schema.js";
import { createApp } from "./create-app.js";
import type { Logger } from "./http/logger.js";
import { errorFields } from "./http/logger.js";
import { createEventLoopProbe } from "./metrics/event-loop-probe.js";
import { createHistory } from "./metrics/history.js";
import { createServerMetrics } from "./metrics/server-metrics.js";
import { openModel } from "./models/open-model.js";
import type { OpenedModel } from "./models/open-model.js";
import { openStore } from "./models/open-store.js";
import type { ServedModel } from "./models/served-model.js";

/** A server that listens. */
export interface RunningServer {
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Takes nothing new, lets requests end for `drainSeconds`, ends the rest, and frees everything. */
  close(): Promise<void>;
}

/** Loads what the configuration names, and listens. */
export async function startServer(configuration: Configuration, options: { readonly logger: Logger; readonly signal?: AbortSignal }): Promise<RunningServer> {
  const { logger, signal = new AbortController().signal } = options;
  logger.log("info", "configuration", describeConfiguration(configuration));
  if (configuration.apiKeys.length === 0 && !isLoopback(configuration.host)) logger.log("warn", "open-server", { message: "anyone who can reach this address can use the server: set apiKeys (KVQUANT_API_KEYS)", host: configuration.host });
  const models: OpenedModel[] = [];
  const store = await openStore(configuration.store, logger);
  const free = async (): Promise<void> => {
    // The store last: models write to it until they are closed. One that fails keeps nothing else open.
    const closed = [...(await Promise.allSettled(models.map((model) => model.close()))), ...(await Promise.allSettled([store?.close()]))];
    const failed = closed.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  };
  try {
    const isIdle = (): boolean => models.every(({ engine }) => isEngineIdle(engine.stats()));
    for (const settings of configuration.models) {
      const model = await openModel(settings, { configuration, store, logger, signal, isIdle });
      models.push(model);
      const { cache, path, backends } = model.engine.stats();
      logger.log("info", "model-ready", { model: model.name, cache, path, backends, context: model.contextLimit });
    }
    return await listen(configuration, { models, logger, free });
  } catch (error) {
    await free();
    throw error;
  }
}

/** What listening needs. */
export interface ListenOptions {
  readonly models: readonly ServedModel[];
  readonly logger: Logger;
  /** Called when the last request has ended. */
  readonly free: () => Promise<void>;
}

/** Listens with models that are open already. @throws IO_ERROR when the address cannot be had */
export async function listen(configuration: Configuration, { models, logger, free }: ListenOptions): Promise<RunningServer> {
  const metrics = createServerMetrics(models);
  const probe = createEventLoopProbe((seconds) => metrics.loopDelay(seconds));
  const history = createHistory(models, { takeLoopDelay: () => probe.take() });
  const shutdown = new AbortController();
  let draining = false;
  const app = createApp({ configuration, models, logger, metrics, history, shutdown: shutdown.signal, isDraining: () => draining });
  const { receiveSeconds, requestSeconds, connections } = configuration.limits;
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: { requestTimeout: receiveSeconds * 1000, headersTimeout: receiveSeconds * 1000, connectionsCheckingInterval: Math.min(5000, receiveSeconds * 500) },
  }) as Server;
  server.maxConnections = connections;
  // Of silence in both directions, which no request within its limits has: a client that does not read its answer would keep the connection for ever.
  server.timeout = (requestSeconds + receiveSeconds) * 1000;
  const stop = (): void => {
    probe.stop();
    history.stop();
  };
  try {
    server.listen(configuration.port, configuration.host);
    await once(server, "listening");
  } catch (cause) {
    stop();
    const { code = "an error" } = cause as NodeJS.ErrnoException;
    throw new KvquantError("IO_ERROR", `listen: expected ${configuration.host}:${configuration.port} to be free, got ${code}; choose another with --port, or 0 for any that is free`, { cause });
  }
  const url = addressOf(server, configuration.host);
  logger.log("info", "listening", { url, models: models.map(({ name }) => name) });

  const close = async (): Promise<void> => {
    draining = true;
    logger.log("info", "draining", { running: sum(models, ({ running }) => running), waiting: sum(models, ({ waiting }) => waiting), seconds: configuration.drainSeconds });
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const timer = setTimeout(() => shutdown.abort(), configuration.drainSeconds * 1000);
    // Connections that wait for a next request are let go; those with an answer on its way end with it.
    const sweep = setInterval(() => server.closeIdleConnections(), 100);
    try {
      await Promise.all(models.map(({ engine }) => Promise.race([engine.drain(), aborted(shutdown.signal)])));
      await Promise.race([closed, aborted(shutdown.signal).then(() => pause(500))]);
    } catch (error) {
      logger.log("error", "drain-failed", errorFields(error));
    } finally {
      clearTimeout(timer);
      clearInterval(sweep);
    }
    server.closeAllConnections();
    await closed;
    stop();
    await free();
    logger.log("info", "closed", {});
  };
  let closing: Promise<void> | undefined;
  return { url, close: () => (closing ??= close()) };
}

function isEngineIdle({ running, waiting }: { readonly running: number; readonly waiting: number }): boolean {
  return running + waiting === 0;
}

function sum(models: readonly ServedModel[], read: (stats: ReturnType<ServedModel["engine"]["stats"]>) => number): number {
  return models.reduce((total, { engine }) => total + read(engine.stats()), 0);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

function addressOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
