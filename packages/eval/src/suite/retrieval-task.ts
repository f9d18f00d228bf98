/** A task in which the model has to find something in a long prompt. */

import { createHash } from "node:crypto";
import { createRandom } from "@kvquant/model";
import type { SuiteModel } from "./suite-model.js";
import type { RetrievalPart } from "./suite-options.js";

/** What a trial is made for. */
export interface TrialRequest {
  /** Tokens that prompt and answer may have together. */
  readonly length: number;
  /** Where the needle is, 0 (start) to 1 (end). */
  readonly depth: number;
  /** Numbers in [0, 1) of this trial alone. */
  readonly random: () => number;
}

/** One prompt with its answer. */
export interface Trial {
  /** Special tokens included. */
  readonly prompt: Int32Array;
  /** The right continuation, for its log-probability. */
  readonly answer: Int32Array;
  /** What `passes` looks for, in words. */
  readonly expected: string;
  /** Tokens to generate at most. */
  readonly maxTokens: number;
  /** True when the generated text answers rightly. */
  passes(text: string): boolean;
  /** True when further text cannot change the verdict. */
  isDecided(text: string): boolean;
}

/** A kind of trial. */
export interface RetrievalTask {
  readonly part: RetrievalPart;
  /** @throws INVALID_ARGUMENT for a length that has no room for the task's own sentences */
  createTrial(model: SuiteModel, request: TrialRequest): Trial;
}

/** Random numbers that depend on the seed, the task, the length and the trial alone. */
export function trialRandom(seed: number, ...names: readonly (string | number)[]): () => number {
  return createRandom(createHash("sha256").update(JSON.stringify([seed, ...names])).digest().readUInt32LE());
}

/** The first run of digits in a text. */
export function firstNumber(text: string): string | undefined {
  return /\d+/.exec(text)?.[0];
}
