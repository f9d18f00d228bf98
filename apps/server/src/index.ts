/** The OpenAI-compatible reference server. */

export { describeConfiguration, loadConfiguration } from "./configuration/load-configuration.js";
export type { ConfigurationSources } from "./configuration/load-configuration.js";
export type { Configuration, ModelConfiguration } from "./configuration/schema.js";
export { addServerOptions } from "./configuration/settings.js";
export { createApp } from "./create-app.js";
export type { FidelityFigures, FidelityMonitor } from "./fidelity/fidelity-monitor.js";
export { createLogger } from "./http/logger.js";
export type { Logger, LogLevel } from "./http/logger.js";
export type { ServerContext } from "./http/server-context.js";
export { runLoad } from "./load/run-load.js";
export type { LoadOptions, LoadReport, Spread } from "./load/run-load.js";
export { delayQuantile, scrapeDelays } from "./load/scrape-delays.js";
export type { DelayBuckets } from "./load/scrape-delays.js";
export type { ServedModel } from "./models/served-model.js";
export { listen, startServer } from "./start-server.js";
export type { RunningServer } from "./start-server.js";
