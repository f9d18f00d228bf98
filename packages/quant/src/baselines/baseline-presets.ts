/** Names of the baselines that caches are compared with. */

import type { Side } from "@kvquant/spec";
import type { LayerPreset } from "../layer-preset.js";
import type { Quantizer } from "../quantizer.js";
import { coupledChannels } from "./coupled-channels.js";
import { halfPrecision } from "./half-precision.js";
import { integer } from "./integer.js";
import { kivi } from "./kivi.js";
import { kvarn } from "./kvarn.js";
import { llamaBlocks } from "./llama-blocks.js";
import { LLAMA_FORMATS } from "./llama-formats.js";
import type { LlamaFormatName } from "./llama-formats.js";
import { normalFloats } from "./normal-float.js";
import { turbo } from "./turbo.js";

/** Channels of a group of `int*-group32` and `nf*-group32`. */
const GROUP = 32;

/**
 * Makers of the baselines by name: `int{8,4,3,2}-token`, `-channel` and `-group32`, `nf{4,3,2}` the same, `kivi{4,2}`, llama.cpp's `q8_0`, `q5_1`,
 * `q5_0`, `q4_1`, `q4_0`, `iq4_nl` and each with `+rot`, `turbo{4,3,2}`, `kvarn{4,3,2}`, `cq-2c8b`, `cq-4c8b`, `cq-8c8b`. `token`: one scale a token
 * and head; `channel`: keys one scale a channel and page, values one a token and head; `group32`: one scale for 32 channels of a token.
 */
export const BASELINE_PRESETS: ReadonlyMap<string, () => LayerPreset> = new Map<string, () => LayerPreset>([
  ...([8, 4, 3, 2] as const).flatMap((bits) => grouped(`int${bits}`, (side, axis, group) => integer({ side, bits, axis, group }))),
  ...([4, 3, 2] as const).flatMap((bits) => grouped(`nf${bits}`, (side, axis, group) => normalFloats({ side, bits, axis, group }))),
  ...([4, 2] as const).map((bits): [string, () => LayerPreset] => [`kivi${bits}`, () => kivi(bits)]),
  ...(Object.keys(LLAMA_FORMATS) as LlamaFormatName[]).flatMap((format): [string, () => LayerPreset][] => [
    [format, both((side) => llamaBlocks({ side, format }))],
    [`${format}+rot`, both((side) => llamaBlocks({ side, format, rotated: true }))],
  ]),
  ...([4, 3, 2] as const).map((bits): [string, () => LayerPreset] => [`turbo${bits}`, both((side) => turbo({ side, bits }))]),
  ...([4, 3, 2] as const).map((bits): [string, () => LayerPreset] => [`kvarn${bits}`, both((side) => kvarn({ side, bits }))]),
  ...([2, 4, 8] as const).map((channels): [string, () => LayerPreset] => [`cq-${channels}c8b`, both((side) => coupledChannels({ side, channels }))]),
]);

/** One quantizer of each id of the baselines; options do not matter for opening. */
export const BASELINE_QUANTIZERS: readonly Quantizer[] = (["key", "value"] as const).flatMap((side) => [
  integer({ side, bits: 4, axis: "token" }),
  normalFloats({ side, bits: 4, axis: "token" }),
  llamaBlocks({ side, format: "q4_0" }),
  turbo({ side, bits: 4 }),
  kvarn({ side, bits: 4 }),
  coupledChannels({ side, channels: 4 }),
  halfPrecision(side),
]);

function both(make: (side: Side) => Quantizer): () => LayerPreset {
  return () => ({ key: make("key"), value: make("value") });
}

function grouped(name: string, make: (side: Side, axis: "token" | "channel", group: number | undefined) => Quantizer): [string, () => LayerPreset][] {
  return [
    [`${name}-token`, both((side) => make(side, "token", undefined))],
    [`${name}-channel`, both((side) => make(side, side === "key" ? "channel" : "token", undefined))],
    [`${name}-group32`, both((side) => make(side, "token", GROUP))],
  ];
}
