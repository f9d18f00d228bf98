/** Inverse frequencies of a rotary embedding under its scaling rule, in float64. */

import { check } from "@kvquant/spec";
import { checkRopeConfig } from "./rope-config.js";
import type { Llama3Scaling, LongRopeScaling, RopeConfig, YarnScaling } from "./rope-config.js";

/** The angle of pair i at position p is `p * inverseFrequencies[i]`. */
export interface RopeFrequencies {
  /** `[rotaryDim / 2]`, radians a token */
  readonly inverseFrequencies: Float64Array;
  /** Multiplies rotated queries and keys alike, so scores by its square; 1 except for yarn and longrope. */
  readonly attentionFactor: number;
}

/**
 * Computes the frequencies for a sequence of `sequenceLength` tokens. Only dynamic and longrope depend on it; leaving it out means
 * "not longer than the original length".
 * Source: Hugging Face transformers 5.x `modeling_rope_utils.py`; `factors` from ggml's `rope_ext` (theta / freq_factor).
 * @throws INVALID_ARGUMENT for a configuration that makes no sense
 */
export function ropeFrequencies(config: RopeConfig, sequenceLength = 0): RopeFrequencies {
  checkRopeConfig(config);
  check(sequenceLength >= 0 && Number.isFinite(sequenceLength), "ropeFrequencies: sequenceLength", "a finite number of at least 0", sequenceLength);
  const { base, rotaryDim, scaling } = config;
  const plain = plainFrequencies(base, rotaryDim);
  switch (scaling.type) {
    case "none":
      return { inverseFrequencies: plain, attentionFactor: 1 };
    case "linear":
      return { inverseFrequencies: plain.map((frequency) => frequency / scaling.factor), attentionFactor: 1 };
    case "dynamic": {
      const growth = Math.max(sequenceLength, scaling.maxPositionEmbeddings) / scaling.maxPositionEmbeddings;
      const grownBase = base * (scaling.factor * growth - (scaling.factor - 1)) ** (rotaryDim / (rotaryDim - 2));
      return { inverseFrequencies: growth === 1 ? plain : plainFrequencies(grownBase, rotaryDim), attentionFactor: 1 };
    }
    case "yarn":
      return { inverseFrequencies: yarnFrequencies(plain, scaling, config), attentionFactor: yarnAttentionFactor(scaling) };
    case "llama3":
      return { inverseFrequencies: plain.map((frequency) => llama3Frequency(frequency, scaling)), attentionFactor: 1 };
    case "longrope": {
      const divisors = sequenceLength > scaling.originalMaxPositionEmbeddings ? scaling.longFactor : scaling.shortFactor;
      return { inverseFrequencies: plain.map((frequency, i) => frequency / divisors[i]!), attentionFactor: longRopeAttentionFactor(scaling) };
    }
    case "factors":
      return { inverseFrequencies: plain.map((frequency, i) => frequency / scaling.factors[i]!), attentionFactor: 1 };
  }
}

function plainFrequencies(base: number, rotaryDim: number): Float64Array {
  return Float64Array.from({ length: rotaryDim / 2 }, (_, i) => base ** ((-2 * i) / rotaryDim));
}

function yarnFrequencies(plain: Float64Array, scaling: YarnScaling, { base, rotaryDim }: RopeConfig): Float64Array {
  /** The (fractional) pair that makes `turns` full turns over the original length. */
  const pairWithTurns = (turns: number): number => (rotaryDim * Math.log(scaling.originalMaxPositionEmbeddings / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  let low = pairWithTurns(scaling.betaFast ?? 32);
  let high = pairWithTurns(scaling.betaSlow ?? 1);
  if (scaling.truncate ?? true) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, rotaryDim - 1);
  if (low === high) high += 0.001;
  return plain.map((frequency, i) => {
    const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
    return (frequency / scaling.factor) * ramp + frequency * (1 - ramp);
  });
}

function yarnAttentionFactor(scaling: YarnScaling): number {
  const gain = (mscale: number): number => (scaling.factor <= 1 ? 1 : 0.1 * mscale * Math.log(scaling.factor) + 1);
  if (scaling.attentionFactor !== undefined) return scaling.attentionFactor;
  return scaling.mscale && scaling.mscaleAllDim ? gain(scaling.mscale) / gain(scaling.mscaleAllDim) : gain(1);
}

function llama3Frequency(frequency: number, scaling: Llama3Scaling): number {
  const { factor, lowFreqFactor, highFreqFactor } = scaling;
  /** Turns of this pair over the original length. */
  const turns = (scaling.originalMaxPositionEmbeddings * frequency) / (2 * Math.PI);
  if (turns > highFreqFactor) return frequency;
  if (turns < lowFreqFactor) return frequency / factor;
  const smooth = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

function longRopeAttentionFactor(scaling: LongRopeScaling): number {
  if (scaling.attentionFactor !== undefined) return scaling.attentionFactor;
  return scaling.factor <= 1 ? 1 : Math.sqrt(1 + Math.log(scaling.factor) / Math.log(scaling.originalMaxPositionEmbeddings));
}
