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

/** Figures of an engine, by metric; read when Prometheus asks. */
const engineGauges: readonly (readonly [name: string, help: string, read: (stats: EngineStats) => number | undefined])[] = [
  ["running", "Requests being computed", ({ running }) => running],
  ["waiting", "Requests in the queue", ({ waiting }) => waiting],
  ["pages", "Closed pages held, each counted once", ({ pages }) => pages],
  ["held_tokens", "Tokens held, each counted once", ({ tokens }) => tokens],
  ["cache_bytes", "Bytes of all caches", ({ cacheBytes }) => cacheBytes],
  ["cache_limit_bytes", "Bytes all caches may take", ({ cacheLimit }) => cacheLimit],
  ["cache_fp16_bytes", "Bytes fp16 would take for the same tokens", ({ fp16Bytes }) => fp16Bytes],
  ["cache_prefix_bytes", "Bytes of resume points", ({ prefixBytes }) => prefixBytes],
  ["cache_bits_per_value", "True bits per value of closed pages", ({ bitsPerValue }) => bitsPerValue?.mean],
  ["resume_points", "Resume points held", ({ resumePoints }) => resumePoints],
  ["sessions", "Sessions kept", ({ sessions }) => sessions],
  ["prefix_hit_rate", "Share of prompt tokens that came from cached prefixes, since the start", hitRate],
  ["store_bytes", "Bytes of the second tier", ({ store }) => store?.bytes],
];

/** Totals of an engine, by metric. */
const engineTotals: readonly (readonly [name: string, help: string, read: (stats: EngineStats) => number | undefined])[] = [
  ["prompt_tokens_total", "Prompt tokens of requests", ({ promptTokens }) => promptTokens],
  ["cached_tokens_total", "Prompt tokens that came from cached prefixes", ({ cachedTokens }) => cachedTokens],
  ["generated_tokens_total", "Tokens generated", ({ generatedTokens }) => generatedTokens],
  ["steps_total", "Steps of the model", ({ steps }) => steps],
  ["preemptions_total", "Requests that made room and were computed again", ({ preemptions }) => preemptions],
  ["cancelled_total", "Requests cancelled", ({ cancelled }) => cancelled],
  ["failed_total", "Requests that failed", ({ failed }) => failed],
  ["saturated_values_total", "Values that found no outlier slot", ({ saturated }) => saturated],
  ["clamped_scales_total", "Page scales that were clamped", ({ clamped }) => clamped],
  ["store_hits_total", "Resume points read back from the second tier", ({ store }) => store?.hits],
  ["store_misses_total", "Look-ups the second tier had nothing for", ({ store }) => store?.misses],
  ["store_damaged_total", "Damaged records dropped", ({ store }) => store?.damaged],
  ["store_written_total", "Records written to the second tier", ({ store }) => store?.written],
];

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
  for (const [name, help, read] of engineGauges) {
    new Gauge({
      name: `kvquant_${name}`,
      help,
      labelNames: ["model"],
      registers,
      collect() {
        for (const model of models) {
          const value = read(readStats(model));
          if (value !== undefined) this.set({ model: model.name }, value);
        }
      },
    });
  }
  for (const [name, help, read] of engineTotals) {
    new Counter({
      name: `kvquant_${name}`,
      help,
      labelNames: ["model"],
      registers,
      collect() {
        this.reset();
        for (const model of models) {
          const value = read(readStats(model));
          if (value !== undefined) this.inc({ model: model.name }, value);
        }
      },
    });
  }
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
