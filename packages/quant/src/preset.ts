/** Named pairs of key and value quantizers. */

import { KvquantError } from "@kvquant/spec";
import { BASELINE_PRESETS } from "./baselines/baseline-presets.js";
import type { LayerPreset } from "./layer-preset.js";
import type { Quantizer } from "./quantizer.js";
import { channelKeys } from "./quantizers/channel-keys.js";
import type { CodeBits } from "./quantizers/head-packing.js";
import { pageKeys } from "./quantizers/page-keys.js";
import { rotatedValues } from "./quantizers/rotated-values.js";
import { tokenValues } from "./quantizers/token-values.js";

/** What a cache is quantized with: one pair for all layers, or one a layer. */
export interface CachePreset extends LayerPreset {
  readonly id: string;
  /** Replaces `key` and `value`, one entry a layer; each layer and side may differ in kind and bits. */
  readonly layers?: readonly LayerPreset[];
}

const PRESETS: ReadonlyMap<string, () => LayerPreset> = new Map([...([4, 3, 2] as const).flatMap(presetsOfBits), ...BASELINE_PRESETS]);

/** Every name that `parsePreset` knows, those of `baselineNames` last. "fp16" is none: a cache without quantizer needs none. */
export const presetNames: readonly string[] = [...PRESETS.keys()];

/** The presets that are not this project's: pages are decoded before attention, which any machine can do. */
export const baselineNames: readonly string[] = [...BASELINE_PRESETS.keys()];

/**
 * The preset of a name: `nuq{4,3,2}` and `nuq{4,3,2}-1%` (the paper), `nuq{4,3,2}-1%+fb` (with feedback rounding of keys), `kvq{4,3,2}`
 * (page-local key scales with feedback, rotated values), and rungs of the paper's ladder `keys-token-post`, `keys-channel-post`,
 * `keys-channel-pre` (uniform keys, values as in `nuq`; 3 bits, or `:4`, `:2`); and the baselines of others, see `BASELINE_PRESETS`.
 * @throws INVALID_ARGUMENT for another name, listing all
 */
export function parsePreset(name: string): CachePreset {
  const make = PRESETS.get(name);
  if (make === undefined) throw new KvquantError("INVALID_ARGUMENT", `preset: expected one of ${presetNames.join(", ")}, got "${name}"`);
  return { id: name, ...make() };
}

function presetsOfBits(bits: CodeBits): [string, () => LayerPreset][] {
  const suffix = bits === 3 ? "" : `:${bits}`;
  const nuqValues = (): Quantizer => tokenValues({ bits, qNorm: bits === 2 });
  return [
    [`nuq${bits}`, () => ({ key: channelKeys({ bits, qNorm: bits === 2 }), value: nuqValues() })],
    [`nuq${bits}-1%`, () => ({ key: channelKeys({ bits, outliers: 0.01 }), value: tokenValues({ bits, outliers: 0.01 }) })],
    [`nuq${bits}-1%+fb`, () => ({ key: channelKeys({ bits, outliers: 0.01, feedback: true }), value: tokenValues({ bits, outliers: 0.01 }) })],
    [`kvq${bits}`, () => ({ key: pageKeys({ bits, levels: bits === 2 ? "learned" : "uniform" }), value: rotatedValues({ bits, levels: "unbiased" }) })],
    [`keys-token-post${suffix}`, () => ({ key: tokenValues({ bits, side: "key", levels: "uniform" }), value: nuqValues() })],
    [`keys-channel-post${suffix}`, () => ({ key: channelKeys({ bits, frame: "post-rope", levels: "uniform" }), value: nuqValues() })],
    [`keys-channel-pre${suffix}`, () => ({ key: channelKeys({ bits, levels: "uniform" }), value: nuqValues() })],
  ];
}
