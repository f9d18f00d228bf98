/** KIVI: keys per channel, values per token. */

import { check } from "@kvquant/spec";
import type { LayerPreset } from "../layer-preset.js";
import { integer } from "./integer.js";

/** Values that share a scale and a zero point. */
const GROUP = 32;

/** Newest tokens that KIVI keeps exact, its residual window; here the cache's tail. */
export const KIVI_TAIL_TOKENS = 128;

/**
 * Keys after RoPE per channel in groups of 32 tokens (two to a page), values per token in groups of 32 channels, fp16 scale and zero point: one more bit
 * a value. Its residual window is the cache's tail: give the cache `tailTokens: KIVI_TAIL_TOKENS` to have its recipe.
 * Source: Liu et al. 2024, "KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache", section 3 (G = 32, R = 128).
 * @throws INVALID_ARGUMENT for bits other than 2 and 4
 */
export function kivi(bits: 2 | 4): LayerPreset {
  check(bits === 2 || bits === 4, "kivi: bits", "2 or 4", bits);
  return { key: integer({ side: "key", bits, axis: "channel", group: GROUP }), value: integer({ side: "value", bits, axis: "token", group: GROUP }) };
}
