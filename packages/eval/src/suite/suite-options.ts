/** What the fidelity suite is asked to do. */

import { checkContext } from "@kvquant/model";
import { check, checkInteger } from "@kvquant/spec";
import type { EvaluatedCache } from "../evaluated-cache.js";
import type { SuiteModel } from "./suite-model.js";

/** The parts there are, in the order they run. `perplexity` and `kld` share their forward passes. */
export const SUITE_PARTS = ["perplexity", "kld", "layers", "drift", "passkey", "needle", "multikey"] as const;
/** One part of the suite. */
export type SuitePart = (typeof SUITE_PARTS)[number];
/** Parts in which the model has to find something in its prompt. */
export const RETRIEVAL_PARTS = ["passkey", "needle", "multikey"] as const;
/** One of them. */
export type RetrievalPart = (typeof RETRIEVAL_PARTS)[number];

/** Where a suite stands. */
export interface SuiteProgress {
  readonly part: SuitePart;
  /** What is being computed, such as `passkey 2048, trial 3 of 10: kvq3, tail 64`. */
  readonly text: string;
  /** Tokens through the model so far, of all that the suite needs; units kept from earlier count as done. */
  readonly done: number;
  readonly total: number;
}

/** The drift part: greedy continuations of prompts cut from the text. */
export interface DriftOptions {
  /** Default 4. */
  readonly prompts?: number | undefined;
  /** Tokens of a prompt, default 1,024 or what the model's context leaves. */
  readonly promptTokens?: number | undefined;
  /** Tokens of a continuation at most, default 128. It ends early where fp16 ends the text. */
  readonly tokens?: number | undefined;
}

/** What to run, on which caches. */
export interface SuiteOptions {
  readonly parts: readonly SuitePart[];
  /** fp16 always runs too: every row is read against it. */
  readonly caches: readonly EvaluatedCache[];
  /** Tokens of a text without special ones: windows, prompts and the haystack are cut from it. Passkey and multikey need none. */
  readonly tokens?: ArrayLike<number> | undefined;
  /** Tokens of windows and of retrieval prompts with their answers. Default 2,048, 4,096 and 8,192, as the model's context allows. */
  readonly lengths?: readonly number[] | undefined;
  /** Windows at the shortest length, default 8; longer ones get as many as hold the same tokens, at least one. */
  readonly windows?: number | undefined;
  /** Newest tokens kept exact. Default `[64]`. 0 means the evaluation-only protocol without a tail for windows, and pages that close at once where the model generates. */
  readonly tails?: readonly number[] | undefined;
  /** Trials of each retrieval part, length, cache and tail. Default 10. */
  readonly trials?: number | undefined;
  /** Where in the prompt the needle is, 0 to 1; trials take turns. Default 0.1, 0.3, 0.5, 0.7, 0.9. */
  readonly depths?: readonly number[] | undefined;
  /** Seed of keys, haystacks and bootstrap resamples. Default 0. */
  readonly seed?: number | undefined;
  readonly drift?: DriftOptions | undefined;
  /** Finished units are kept here. */
  readonly unitFolder?: string | undefined;
  /** Take finished units from `unitFolder` instead of computing them again: all of them, or those written since a moment. Default false. */
  readonly resume?: boolean | Date | undefined;
  /** fp16 hidden states of windows are kept here. */
  readonly referenceFolder?: string | undefined;
  readonly onProgress?: ((progress: SuiteProgress) => void) | undefined;
  /** Told in a sentence of what a user should know. */
  readonly onNotice?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options with every default filled in. */
export interface SuiteSettings {
  readonly parts: readonly SuitePart[];
  readonly lengths: readonly number[];
  readonly windows: number;
  readonly tails: readonly number[];
  readonly trials: number;
  readonly depths: readonly number[];
  readonly seed: number;
  readonly drift: { readonly prompts: number; readonly promptTokens: number; readonly tokens: number };
}

const DEFAULT_LENGTHS = [2048, 4096, 8192];
const DEFAULT_DEPTHS = [0.1, 0.3, 0.5, 0.7, 0.9];

/**
 * Checks options and fills in defaults.
 * @throws INVALID_ARGUMENT for an unknown part, no caches, counts below one, depths outside 0 to 1, a length over the model's context, or a part without its text
 */
export function resolveSettings(model: SuiteModel, options: SuiteOptions): SuiteSettings {
  const { contextLength } = model.config;
  const { windows = 8, tails = [64], trials = 10, depths = DEFAULT_DEPTHS, seed = 0 } = options;
  check(options.parts.length > 0, "suite", `at least one of ${SUITE_PARTS.join(", ")}`, "none");
  for (const part of options.parts) check(SUITE_PARTS.includes(part), "suite", `parts among ${SUITE_PARTS.join(", ")}`, `"${part}"`);
  check(options.caches.length > 0, "caches", "at least one", "none");
  check(tails.length > 0, "tails", "at least one", "none");
  for (const tail of tails) checkInteger("tail", tail, { minimum: 0 });
  checkInteger("windows", windows, { minimum: 1 });
  checkInteger("trials", trials, { minimum: 1 });
  checkInteger("seed", seed, { minimum: 0 });
  check(depths.length > 0 && depths.every((depth) => depth >= 0 && depth <= 1), "depths", "numbers from 0 to 1", depths.join(", "));
  const lengths = [...new Set(options.lengths ?? defaultLengths(contextLength))].sort((a, b) => a - b);
  check(lengths.length > 0, "lengths", "at least one", "none");
  for (const length of lengths) {
    checkInteger("length", length, { minimum: 2 });
    checkContext(model.config, length);
  }
  return { parts: SUITE_PARTS.filter((part) => options.parts.includes(part)), lengths, windows, tails: [...new Set(tails)], trials, depths, seed, drift: resolveDrift(model, options) };
}

function defaultLengths(contextLength: number): readonly number[] {
  const fitting = DEFAULT_LENGTHS.filter((length) => length <= contextLength);
  return fitting.length === 0 ? [contextLength] : fitting;
}

function resolveDrift(model: SuiteModel, { drift = {}, parts, tokens: text }: SuiteOptions): SuiteSettings["drift"] {
  const { prompts = 4, tokens = 128 } = drift;
  checkInteger("drift tokens", tokens, { minimum: 1 });
  checkInteger("drift prompts", prompts, { minimum: 1 });
  const promptTokens = drift.promptTokens ?? Math.max(2, Math.min(1024, model.config.contextLength - tokens));
  checkInteger("drift prompt tokens", promptTokens, { minimum: 2 });
  const needsText = parts.filter((part) => part !== "passkey" && part !== "multikey");
  check(needsText.length === 0 || text !== undefined, needsText.join(", "), "a text to cut windows, prompts and haystacks from", "none");
  if (parts.includes("drift")) checkContext(model.config, promptTokens + tokens);
  return { prompts, promptTokens, tokens };
}
