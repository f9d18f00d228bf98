/** The last hour in figures, for the dashboard's plots. */

import type { ServedModel } from "../models/served-model.js";
import type { LoopDelay } from "./event-loop-probe.js";

/** Seconds between two points. */
const intervalSeconds = 5;
const points = 3600 / intervalSeconds;

/** Series of equal length; null where there was nothing to measure. All sums are over all models. */
export interface HistoryReport {
  readonly intervalSeconds: number;
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly series: Readonly<Record<HistorySeries, readonly (number | null)[]>>;
}

/** What is kept. Rates are a second, times in seconds, `hitRate` and `kld` over the interval's requests and the last samples. */
export type HistorySeries =
  | "generatedTokensPerSecond"
  | "promptTokensPerSecond"
  | "running"
  | "waiting"
  | "cacheBytes"
  | "fp16Bytes"
  | "pages"
  | "hitRate"
  | "firstTokenMean"
  | "firstTokenMax"
  | "tokenGapMean"
  | "kld"
  | "eventLoopP99"
  | "eventLoopMax"
  | "residentBytes";

const names: readonly HistorySeries[] = [
  "generatedTokensPerSecond", "promptTokensPerSecond", "running", "waiting", "cacheBytes", "fp16Bytes", "pages", "hitRate",
  "firstTokenMean", "firstTokenMax", "tokenGapMean", "kld", "eventLoopP99", "eventLoopMax", "residentBytes",
];

/** Keeps figures. */
export interface History {
  firstToken(seconds: number): void;
  tokenGap(seconds: number): void;
  /** Adds a point; called by the clock, and by tests. */
  tick(): void;
  report(): HistoryReport;
  stop(): void;
}

/** Starts to keep figures. */
export function createHistory(models: readonly ServedModel[], options: { readonly takeLoopDelay: () => LoopDelay; readonly now?: () => number }): History {
  const { takeLoopDelay, now = Date.now } = options;
  const times: number[] = [];
  const series = Object.fromEntries(names.map((name) => [name, [] as (number | null)[]])) as Record<HistorySeries, (number | null)[]>;
  const first = createMean();
  const gap = createMean();
  let last = readTotals(models);
  let lastTime = now();
  const tick = (): void => {
    const time = now();
    const seconds = Math.max((time - lastTime) / 1000, 1e-3);
    const totals = readTotals(models);
    const prompts = totals.promptTokens - last.promptTokens;
    const delay = takeLoopDelay();
    const point: Record<HistorySeries, number | null> = {
      generatedTokensPerSecond: (totals.generatedTokens - last.generatedTokens) / seconds,
      promptTokensPerSecond: prompts / seconds,
      running: totals.running,
      waiting: totals.waiting,
      cacheBytes: totals.cacheBytes,
      fp16Bytes: totals.fp16Bytes,
      pages: totals.pages,
      hitRate: prompts > 0 ? (totals.cachedTokens - last.cachedTokens) / prompts : null,
      firstTokenMean: first.mean(),
      firstTokenMax: first.maximum(),
      tokenGapMean: gap.mean(),
      kld: largest(models.map(({ monitor }) => monitor?.figures().kldMean ?? null)),
      eventLoopP99: delay.p99,
      eventLoopMax: delay.maximum,
      residentBytes: process.memoryUsage.rss(),
    };
    first.clear();
    gap.clear();
    last = totals;
    lastTime = time;
    times.push(time / 1000);
    for (const name of names) series[name].push(point[name]);
    if (times.length > points) for (const list of [times, ...Object.values(series)]) list.shift();
  };
  const timer = setInterval(tick, intervalSeconds * 1000);
  timer.unref();
  return { firstToken: first.add, tokenGap: gap.add, tick, report: () => ({ intervalSeconds, times, series }), stop: () => clearInterval(timer) };
}

type Totals = Record<"promptTokens" | "cachedTokens" | "generatedTokens" | "running" | "waiting" | "cacheBytes" | "fp16Bytes" | "pages", number>;

function readTotals(models: readonly ServedModel[]): Totals {
  const totals: Totals = { promptTokens: 0, cachedTokens: 0, generatedTokens: 0, running: 0, waiting: 0, cacheBytes: 0, fp16Bytes: 0, pages: 0 };
  for (const { engine } of models) {
    const stats = engine.stats();
    for (const name of Object.keys(totals) as (keyof Totals)[]) totals[name] += stats[name];
  }
  return totals;
}

function createMean() {
  let sum = 0;
  let count = 0;
  let top = 0;
  return {
    add(value: number): void {
      sum += value;
      count++;
      top = Math.max(top, value);
    },
    mean: () => (count === 0 ? null : sum / count),
    maximum: () => (count === 0 ? null : top),
    clear(): void {
      sum = count = top = 0;
    },
  };
}

function largest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}
