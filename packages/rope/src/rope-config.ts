/** What a model's rotary embedding is made of: sizes, base, scaling rule. */

import { check, checkInteger } from "@kvquant/spec";

/**
 * Which channels form a rotated pair, d = rotaryDim: `half` pairs (j, j + d/2) (Hugging Face, GPT-NeoX),
 * `interleaved` pairs (2j, 2j + 1) (Meta's llama, llama.cpp files of the llama architecture).
 */
export type Pairing = "half" | "interleaved";

/** The original embedding (Su et al. 2021): inverse frequency i is base^(-2i/d). */
export interface NoScaling {
  readonly type: "none";
}

/** Position interpolation (Chen et al. 2023): positions divided by `factor`. */
export interface LinearScaling {
  readonly type: "linear";
  readonly factor: number;
}

/** Dynamic NTK: the base grows with the sequence once it is longer than `maxPositionEmbeddings`. */
export interface DynamicScaling {
  readonly type: "dynamic";
  readonly factor: number;
  /** Length up to which nothing is scaled, in tokens. */
  readonly maxPositionEmbeddings: number;
}

/** YaRN, also called NTK-by-parts (Peng et al. 2023): fast pairs kept, slow ones interpolated, a ramp between. */
export interface YarnScaling {
  readonly type: "yarn";
  readonly factor: number;
  readonly originalMaxPositionEmbeddings: number;
  /** Turns over the original length above which a pair is kept; default 32. */
  readonly betaFast?: number;
  /** Turns over the original length below which a pair is fully interpolated; default 1. */
  readonly betaSlow?: number;
  /** Replaces the attention factor computed from `factor`, `mscale` and `mscaleAllDim`. */
  readonly attentionFactor?: number;
  /** Used only together with `mscaleAllDim` (DeepSeek): attention factor g(mscale) / g(mscaleAllDim). */
  readonly mscale?: number;
  readonly mscaleAllDim?: number;
  /** Round the ends of the ramp to whole pairs; default true. */
  readonly truncate?: boolean;
}

/** The rule of Llama 3.1 and later: slow pairs interpolated, a smooth step between the two wavelengths. */
export interface Llama3Scaling {
  readonly type: "llama3";
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositionEmbeddings: number;
}

/** LongRoPE (Ding et al. 2024), as in Phi-3: one divisor per pair, another set once the sequence is longer than the original. */
export interface LongRopeScaling {
  readonly type: "longrope";
  /** Longest over original length; it only sets the attention factor. */
  readonly factor: number;
  /** Divisors up to the original length `[rotaryDim / 2]`. */
  readonly shortFactor: readonly number[];
  /** Divisors beyond it `[rotaryDim / 2]`. */
  readonly longFactor: readonly number[];
  readonly originalMaxPositionEmbeddings: number;
  readonly attentionFactor?: number;
}

/** The `rope_freqs` tensor of a GGUF file: inverse frequency i is divided by `factors[i]`. */
export interface FactorsScaling {
  readonly type: "factors";
  /** `[rotaryDim / 2]` */
  readonly factors: readonly number[];
}

/** How frequencies are changed for contexts longer than those of training. */
export type RopeScaling = NoScaling | LinearScaling | DynamicScaling | YarnScaling | Llama3Scaling | LongRopeScaling | FactorsScaling;

/** Rotary embedding of one model. */
export interface RopeConfig {
  readonly headDim: number;
  /** Channels that rotate, the first of each head; the others pass through (partial rotary). Even. */
  readonly rotaryDim: number;
  /** Also called theta: 10,000 in the paper. */
  readonly base: number;
  readonly scaling: RopeScaling;
}

/**
 * Throws unless sizes, base and every number of the scaling rule make sense together.
 * @throws INVALID_ARGUMENT
 */
export function checkRopeConfig(config: RopeConfig): void {
  checkInteger("rope.headDim", config.headDim, { minimum: 2 });
  checkInteger("rope.rotaryDim", config.rotaryDim, { minimum: 2, maximum: config.headDim });
  check(config.rotaryDim % 2 === 0, "rope.rotaryDim", "an even number", config.rotaryDim);
  check(config.base > 1 && Number.isFinite(config.base), "rope.base", "a finite number above 1", config.base);
  checkScaling(config.scaling, config.rotaryDim / 2);
}

function checkScaling(scaling: RopeScaling, pairs: number): void {
  switch (scaling.type) {
    case "none":
      return;
    case "linear":
      return checkPositive("factor", scaling.factor);
    case "dynamic":
      check(pairs > 1, "rope.rotaryDim", "at least 4 for dynamic scaling", pairs * 2);
      check(scaling.factor >= 1 && Number.isFinite(scaling.factor), "rope.scaling.factor", "a finite number of at least 1", scaling.factor);
      return checkInteger("rope.scaling.maxPositionEmbeddings", scaling.maxPositionEmbeddings, { minimum: 1 });
    case "yarn":
      checkYarn(scaling);
      return checkInteger("rope.scaling.originalMaxPositionEmbeddings", scaling.originalMaxPositionEmbeddings, { minimum: 1 });
    case "llama3":
      checkPositive("factor", scaling.factor);
      checkPositive("lowFreqFactor", scaling.lowFreqFactor);
      check(scaling.highFreqFactor > scaling.lowFreqFactor, "rope.scaling.highFreqFactor", `above lowFreqFactor ${scaling.lowFreqFactor}`, scaling.highFreqFactor);
      return checkInteger("rope.scaling.originalMaxPositionEmbeddings", scaling.originalMaxPositionEmbeddings, { minimum: 1 });
    case "longrope":
      checkPositive("factor", scaling.factor);
      checkPositive("attentionFactor", scaling.attentionFactor ?? 1);
      checkDivisors("shortFactor", scaling.shortFactor, pairs);
      checkDivisors("longFactor", scaling.longFactor, pairs);
      return checkInteger("rope.scaling.originalMaxPositionEmbeddings", scaling.originalMaxPositionEmbeddings, { minimum: 2 });
    case "factors":
      return checkDivisors("factors", scaling.factors, pairs);
    default:
      check(false, "rope.scaling.type", "none, linear, dynamic, yarn, llama3, longrope or factors", (scaling as { type: unknown }).type);
  }
}

function checkYarn({ factor, betaFast = 32, betaSlow = 1, attentionFactor = 1, mscale = 0, mscaleAllDim = 0 }: YarnScaling): void {
  checkPositive("factor", factor);
  checkPositive("betaSlow", betaSlow);
  check(betaFast >= betaSlow && Number.isFinite(betaFast), "rope.scaling.betaFast", `a finite number of at least betaSlow ${betaSlow}`, betaFast);
  checkPositive("attentionFactor", attentionFactor);
  for (const [name, value] of Object.entries({ mscale, mscaleAllDim })) check(value >= 0 && Number.isFinite(value), `rope.scaling.${name}`, "a finite number of at least 0", value);
}

/** Missing numbers fail too: configurations come out of files, where types promise nothing. */
function checkPositive(name: string, value: number): void {
  check(value > 0 && Number.isFinite(value), `rope.scaling.${name}`, "a finite number above 0", value);
}

function checkDivisors(name: string, divisors: readonly number[], pairs: number): void {
  check(divisors.length === pairs, `rope.scaling.${name}`, `${pairs} numbers (half of rotaryDim)`, `${divisors.length} numbers`);
  for (const divisor of divisors) checkPositive(name, divisor);
}
