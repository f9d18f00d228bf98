/** What Prometheus reads at `/metrics`. */

import type { EngineStats } from "@kvquant/engine";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ServedModel } from "../models/served-model.js";

/** Counts requests and tokens, and shows the engines' figures. */
export interface ServerMetrics {
  readonly registry: Registry;
  requestEnded(labels: { readonly endpoint: string; readonly model: string; readonly status: number }, seconds: number): void;
  waited(model: string, seconds: number): void;
  firstToken(model: string, seconds: number): void;
  tokenGap(model: string, seconds: number): void;
  loopDelay(seconds: number): void;
}

const latencies = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const gaps = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 5];
const delays = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5];

/** Fields of an engine's figures that are numbers. */
type NumberField = { [Field in keyof EngineStats]-?: EngineStats[Field] extends number ? Field : never }[keyof EngineStats];

/** What is now, by field; `cacheBytes` is `kvquant_cache_bytes`. */
const gauges = {
  running: "Requests being computed",
  waiting: "Requests in the queue",
  pages: "Closed pages held, each counted once",
  tokens: "Tokens held, each counted once",
  cacheBytes: "Bytes of all caches",
  cacheLimit: "Bytes all caches may take",
  fp16Bytes: "Bytes fp16 would take for the same tokens",
  prefixBytes: "Bytes of resume points",
  resumePoints: "Resume points held",
  sessions: "Sessions kept",
} satisfies Partial<Record<NumberField, string>>;

/** Totals since the start, by field; `promptTokens` is `kvquant_prompt_tokens_total`. */
const totals = {
  promptTokens: "Prompt tokens of requests",
  cachedTokens: "Prompt tokens that came from cached prefixes",
  generatedTokens: "Tokens generated",
  steps: "Steps of the model",
  preemptions: "Requests that made room and were computed again",
  cancelled: "Requests cancelled",
  failed: "Requests that failed",
  evictions: "Resume points that made room",
  saturated: "Values that found no outlier slot",
  clamped: "Page scales that were clamped",
} satisfies Partial<Record<NumberField, string>>;

/** Totals of the second tier, by field; `hits` is `kvquant_store_hits_total`. */
const storeTotals = { hits: "Resume points read back", misses: "Look-ups that found nothing", damaged: "Damaged records dropped", written: "Records written" };

/** Share of prompt tokens that were not computed; 0 before the first request. */
export function hitRate({ promptTokens, cachedTokens }: EngineStats): number {
  return promptTokens === 0 ? 0 : cachedTokens / promptTokens;
}

/** Metrics in a registry of their own, so that several servers of a process do not mix. */
export function createServerMetrics(models: readonly ServedModel[]): ServerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({ name: "kvquant_requests_total", help: "Requests answered", labelNames: ["endpoint", "model", "status"], registers });
  const requestSeconds = new Histogram({ name: "kvquant_request_seconds", help: "Time of a request", labelNames: ["endpoint", "model"], buckets: latencies, registers });
  const waitedSeconds = new Histogram({ name: "kvquant_waited_seconds", help: "Time a request waited in the queue", labelNames: ["model"], buckets: latencies, registers });
  const firstToken = new Histogram({ name: "kvquant_first_token_seconds", help: "Time to the first token, waiting included", labelNames: ["model"], buckets: latencies, registers });
  const tokenGap = new Histogram({ name: "kvquant_token_gap_seconds", help: "Time between two tokens of a request", labelNames: ["model"], buckets: gaps, registers });
  const loopDelay = new Histogram({ name: "kvquant_event_loop_delay_seconds", help: "Lateness of the event loop", buckets: delays, registers });
  showEngines(models, registers);
  showMonitors(models, registers);
  showProcess(registers);
  return {
    registry,
    requestEnded({ endpoint, model, status }, seconds) {
      requests.inc({ endpoint, model, status: String(status) });
      requestSeconds.observe({ endpoint, model }, seconds);
    },
    waited: (model, seconds) => waitedSeconds.observe({ model }, seconds),
    firstToken: (model, seconds) => firstToken.observe({ model }, seconds),
    tokenGap: (model, seconds) => tokenGap.observe({ model }, seconds),
    loopDelay: (seconds) => loopDelay.observe(seconds),
  };
}

/** Figures of an engine, read once for all metrics of one scrape. */
function statsReader(): (model: ServedModel) => EngineStats {
  const known = new Map<string, EngineStats>();
  return ({ name, engine }) => {
    let stats = known.get(name);
    if (stats === undefined) {
      known.set(name, (stats = engine.stats()));
      setTimeout(() => known.delete(name), 10).unref();
    }
    return stats;
  };
}

function showEngines(models: readonly ServedModel[], registers: Registry[]): void {
  const readStats = statsReader();
  const show = (Kind: typeof Gauge | typeof Counter, name: string, { help, read }: { readonly help: string; readonly read: (stats: EngineStats) => number | undefined }): void => {
    new Kind({
      name: `kvquant_${name}`,
      help,
      labelNames: ["model"],
      registers,
      collect(this: Gauge<"model"> | Counter<"model">) {
        this.reset();
        for (const model of models) {
          const value = read(readStats(model));
          if (value !== undefined) this.inc({ model: model.name }, value);
        }
      },
    });
  };
  for (const [field, help] of Object.entries(gauges)) show(Gauge, snakeCase(field), { help, read: (stats) => stats[field as keyof typeof gauges] });
  for (const [field, help] of Object.entries(totals)) show(Counter, `${snakeCase(field)}_total`, { help, read: (stats) => stats[field as keyof typeof totals] });
  for (const [field, help] of Object.entries(storeTotals)) show(Counter, `store_${field}_total`, { help: `Second tier: ${help}`, read: ({ store }) => store?.[field as keyof typeof storeTotals] });
  show(Gauge, "store_bytes", { help: "Bytes of the second tier", read: ({ store }) => store?.bytes });
  show(Gauge, "bits_per_value", { help: "True bits per value of closed pages", read: ({ bitsPerValue }) => bitsPerValue?.mean });
  show(Gauge, "prefix_hit_rate", { help: "Share of prompt tokens that came from cached prefixes, since the start", read: hitRate });
}

function snakeCase(field: string): string {
  return field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function showMonitors(models: readonly ServedModel[], registers: Registry[]): void {
  const figures = [
    ["fidelity_kld_mean", "Mean KL divergence from fp16 over the last samples, nats", "kldMean"],
    ["fidelity_kld_max", "Largest KL divergence from fp16 over the last samples, nats", "kldMax"],
    ["fidelity_top1", "Share of positions where the most likely token is that of fp16", "top1"],
    ["fidelity_samples", "Requests scored again against fp16", "samples"],
    ["fidelity_positions", "Positions scored again against fp16", "positions"],
  ] as const;
  for (const [name, help, field] of figures) {
    new Gauge({
      name: `kvquant_${name}`,
      help,
      labelNames: ["model"],
      registers,
      collect() {
        for (const { name: model, monitor } of models) {
          const value = monitor?.figures()[field];
          if (value !== undefined && value !== null) this.set({ model }, value);
        }
      },
    });
  }
}

function showProcess(registers: Registry[]): void {
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Resident memory",
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Counter({
    name: "process_cpu_seconds_total",
    help: "Processor time",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}
