/** How many sequences of a length one budget of cache memory holds at the same moment, by letting the engine run them. */

import { createServingEngine } from "@kvquant/engine";
import type { LanguageModel } from "@kvquant/model";
import type { KvqArtifact } from "@kvquant/quant";
import { check } from "@kvquant/spec";

/** What to run. */
export interface CapacityOptions {
  readonly artifact: KvqArtifact | "fp16";
  /** Tokens of a sequence, prompt and answer. */
  readonly tokens: number;
  readonly cacheBytes: number;
  /** A text that prompts are cut from, each from another place, so that none shares a page with another. */
  readonly text: Int32Array;
  readonly signal: AbortSignal;
  readonly onSequences: (sequences: number) => void;
}

/** The fullest moment. */
export interface Capacity {
  readonly sequences: number;
  /** Whether more may fit: some had been let in and were not read yet when the first one ended. */
  readonly isLeast: boolean;
  /** Tokens that the shortest and the longest of them held then. */
  readonly shortest: number;
  readonly longest: number;
  readonly cacheBytes: number;
  readonly preemptions: number;
}

/** More than fit in any budget that is worth asking about. */
const REQUESTS = 64;
/** Answers long enough that of some 30 sequences none ends before the last that fits has been read; of more the figure is the least that fit. */
const ANSWER_SHARE = 1 / 16;

/**
 * Submits requests until the first one ends, and returns the moment with most sequences whose whole prompt was held.
 * @throws OUT_OF_CAPACITY when not even one fits; CANCELLED
 */
export async function measureCapacity(model: LanguageModel, { artifact, tokens, cacheBytes, text, signal, onSequences }: CapacityOptions): Promise<Capacity> {
  const answer = Math.ceil(tokens * ANSWER_SHARE);
  check(text.length >= tokens - answer + REQUESTS, "text", `at least ${tokens - answer + REQUESTS} tokens`, text.length);
  await using engine = createServingEngine({ model, artifact, cacheBytes, prefixReuse: false, maxSequences: REQUESTS });
  const ended = new AbortController();
  const held = new Map<number, number>();
  let best: Capacity = { sequences: 0, isLeast: false, shortest: 0, longest: 0, cacheBytes: 0, preemptions: 0 };
  const run = async (index: number): Promise<void> => {
    const start = Math.floor((index * (text.length - (tokens - answer))) / REQUESTS);
    const prompt = text.subarray(start, start + tokens - answer);
    try {
      for await (const part of engine.submit({ prompt, maxTokens: answer, stopAtEnd: false, signal: AbortSignal.any([signal, ended.signal]) })) {
        if (part.type === "finish") return ended.abort();
        if (part.type !== "token") continue;
        held.set(index, prompt.length + part.index);
        const { running, cacheBytes: taken, preemptions } = engine.stats();
        // A preempted sequence is counted no longer than it runs.
        if (held.size <= best.sequences || held.size > running) continue;
        best = { sequences: held.size, isLeast: running > held.size, shortest: Math.min(...held.values()), longest: Math.max(...held.values()), cacheBytes: taken, preemptions };
        onSequences(best.sequences);
      }
    } catch (error) {
      if (!ended.signal.aborted) {
        ended.abort();
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: REQUESTS }, (_, index) => run(index)));
  // What was let in for a while and then had to give way did not fit.
  return { ...best, isLeast: (best.isLeast && engine.stats().preemptions === 0) || best.sequences === REQUESTS };
}
