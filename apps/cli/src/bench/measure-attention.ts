/** Decode attention of one size: fills every cache, checks what it answers, then times all of them in turn. */

import { createThreads } from "@kvquant/cpu";
import type { NativeKvCache, NativeThreads } from "@kvquant/cpu";
import type { AttentionRow } from "./attention-report.js";
import { chooseAttentionShape, exactBytes } from "./attention-shape.js";
import type { AttentionSize } from "./attention-shape.js";
import { checkAttention } from "./check-attention.js";
import { checkMemory } from "./check-memory.js";
import { median } from "./median.js";
import { createSyntheticCache, fillCache } from "./synthetic-cache.js";
import { fitSyntheticLayer, makeSyntheticStatistics } from "./synthetic-layer.js";
import type { SyntheticLayer } from "./synthetic-layer.js";
import { makeSyntheticTokens } from "./synthetic-tokens.js";
import type { SyntheticTokens } from "./synthetic-tokens.js";
import { throwIfAborted } from "./throw-if-aborted.js";

/** What is measured at one size. */
export interface AttentionMeasurement {
  /** Presets; fp16 is always measured, first. */
  readonly presets: readonly string[];
  readonly threads: readonly number[];
  /** Bytes that every cache holds at least; far more than the processor's caches. */
  readonly leastBytes: number;
  /** Rounds that count; one more comes before them. */
  readonly rounds: number;
  readonly signal: AbortSignal;
  readonly onShare: (share: number, detail: string) => void;
}

interface Candidate {
  readonly name: string;
  readonly cache: NativeKvCache;
  /** Bytes that answering one query reads. */
  readonly readBytes: number;
  readonly maxError: number;
}

/** Share of the work that filling is taken for. */
const fillShare = 0.9;

/** @throws OUT_OF_CAPACITY when the caches do not fit into memory; CORRUPT_DATA for a wrong answer */
export async function measureAttention(size: AttentionSize, options: AttentionMeasurement): Promise<AttentionRow[]> {
  const { presets, onShare } = options;
  const shape = chooseAttentionShape(size, options.leastBytes);
  const names = ["fp16", ...presets];
  checkMemory(`${names.length} caches of ${size.tokens} tokens`, names.reduce((sum, name) => sum + exactBytes(shape, size.tokens) * (name === "fp16" ? 1 : 0.35), 0), "ask for fewer --caches or --tokens");
  const statistics = makeSyntheticStatistics(shape);
  const tokens = makeSyntheticTokens(shape);
  const query = tokens.query(shape.queryHeads);
  const threads = options.threads.map((count) => createThreads(count));
  const widest = threads.reduce((most, each) => (each.count > most.count ? each : most));
  const candidates: Candidate[] = [];
  try {
    for (const [index, name] of names.entries()) {
      const layer = name === "fp16" ? name : fitSyntheticLayer(name, statistics);
      const cache = createSyntheticCache(shape, layer, widest);
      candidates.push({ name, cache, ...(await prepare(cache, { layer, tokens, query, length: size.tokens, signal: options.signal, onShare: (share) => onShare((fillShare * (index + share)) / names.length, `filling ${name}`) })) });
    }
    const rows: AttentionRow[] = [];
    for (const [index, each] of threads.entries()) {
      onShare(fillShare + ((1 - fillShare) * index) / threads.length, `timing on ${each.count} threads`);
      rows.push(...(await timeCandidates(candidates, { size, threads: each, query, rounds: options.rounds, signal: options.signal })));
    }
    return rows;
  } finally {
    for (const { cache } of candidates) cache.dispose();
  }
}

interface Preparation {
  readonly layer: SyntheticLayer | "fp16";
  readonly tokens: SyntheticTokens;
  readonly query: Float32Array;
  readonly length: number;
  readonly signal: AbortSignal;
  readonly onShare: (share: number) => void;
}

async function prepare(cache: NativeKvCache, { layer, tokens, query, length, signal, onShare }: Preparation): Promise<Pick<Candidate, "readBytes" | "maxError">> {
  try {
    await fillCache(cache, { tokens, length, signal, onShare });
    const { shape } = cache;
    const output = new Float32Array(shape.layers * query.length).fill(Number.NaN);
    await cache.timeAttention(query, 1, output);
    const maxError = checkAttention({ cache, layer, tokens, query, output: output.subarray(0, query.length) });
    return { maxError, readBytes: readBytes(cache) };
  } catch (error) {
    cache.dispose();
    throw error;
  }
}

/** Pages whole, and the keys and values of exact tokens in fp16. */
function readBytes(cache: NativeKvCache): number {
  const { shape, length } = cache;
  const closed = cache.bitsPerValue() === undefined ? 0 : cache.layer(0).pages().reduce((sum, page) => sum + page.tokens, 0);
  return cache.bytes().pages + exactBytes(shape, length - closed);
}

interface Timing {
  readonly size: AttentionSize;
  readonly threads: NativeThreads;
  readonly query: Float32Array;
  readonly rounds: number;
  readonly signal: AbortSignal;
}

/** Rounds in which every cache answers once, so that a slow moment of the machine meets all of them; each comes to data that the others have pushed out of the processor's caches. */
async function timeCandidates(candidates: readonly Candidate[], { size, threads, query, rounds, signal }: Timing): Promise<AttentionRow[]> {
  const times = candidates.map(() => new Float64Array(rounds));
  for (let round = -1; round < rounds; round++) {
    for (const [index, { cache }] of candidates.entries()) {
      throwIfAborted(signal);
      const time = await timeOnce(cache, threads, query);
      if (round >= 0) times[index]![round] = time;
    }
  }
  return candidates.map(({ name, cache, readBytes, maxError }, index) => {
    const { layers, kvHeads } = cache.shape;
    const own = times[index]!;
    const middle = median(own);
    return {
      ...size,
      threads: threads.count,
      cache: name,
      nanosecondsPerTokenHead: middle / (size.tokens * layers * kvHeads),
      ratioToFp16: median(own.map((time, round) => times[0]![round]! / time)),
      gigabytesPerSecond: readBytes / middle,
      maxError,
    };
  });
}

/** Nanoseconds of one query in every layer, on threads that need not be the cache's own. */
async function timeOnce(cache: NativeKvCache, threads: NativeThreads, query: Float32Array): Promise<number> {
  const nanoseconds = new Float64Array(1);
  await cache.handle.timeAttention(threads.handle, query, 1, nanoseconds, new Float32Array(cache.shape.layers * query.length));
  return nanoseconds[0]!;
}
