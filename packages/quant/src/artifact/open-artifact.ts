/** From an artifact to codecs. */

import { KvquantError } from "@kvquant/spec";
import type { BlockCodec, QuantizerArtifact, Side } from "@kvquant/spec";
import { BASELINE_QUANTIZERS } from "../baselines/baseline-presets.js";
import { corrupt } from "../corrupt.js";
import { decodeGeometry } from "../geometry.js";
import type { Frame, Quantizer } from "../quantizer.js";
import { channelKeys } from "../quantizers/channel-keys.js";
import { pageKeys } from "../quantizers/page-keys.js";
import { rotatedValues } from "../quantizers/rotated-values.js";
import { tokenValues } from "../quantizers/token-values.js";
import type { KvqArtifact } from "./kvq-artifact.js";

/** Codecs of one layer. */
export interface LayerCodecs {
  readonly key: BlockCodec;
  readonly value: BlockCodec;
  /** Whether the key codec is given keys before or after RoPE. */
  readonly keyFrame: Frame;
}

/** One quantizer of each id of this package; options do not matter for opening. */
const BUILT_IN: readonly Quantizer[] = [
  channelKeys({ bits: 3 }),
  channelKeys({ bits: 3, frame: "post-rope", levels: "uniform" }),
  pageKeys({ bits: 3 }),
  tokenValues({ bits: 3 }),
  tokenValues({ bits: 3, side: "key", levels: "uniform" }),
  rotatedValues({ bits: 3 }),
  ...BASELINE_QUANTIZERS,
];

/**
 * Opens every layer's quantizers, found by id among the built-in ones and `custom` (which win).
 * @throws UNSUPPORTED for an id that neither knows
 * @throws CORRUPT_DATA when an artifact is not what its quantizer wrote, or of another side or size than the model
 */
export function openArtifact(artifact: KvqArtifact, custom: readonly Quantizer[] = []): LayerCodecs[] {
  const known = new Map([...BUILT_IN, ...custom].map((quantizer) => [quantizer.id, quantizer]));
  const find = (fitted: QuantizerArtifact, side: Side): Quantizer => {
    const quantizer = known.get(fitted.id);
    if (quantizer === undefined) throw new KvquantError("UNSUPPORTED", `openArtifact: expected one of ${[...known.keys()].join(", ")}, got ${fitted.id}; pass the quantizer that made it`);
    if (quantizer.side !== side) throw corrupt(`artifact ${artifact.cache}`, `a ${side} quantizer`, fitted.id);
    checkSize(artifact, fitted);
    return quantizer;
  };
  return artifact.layers.map(({ key, value }) => {
    const keys = find(key, "key");
    const values = find(value, "value");
    return { key: keys.open(key), value: values.open(value), keyFrame: keys.frame };
  });
}

/** Quantizers that record their geometry must agree with the model's. */
function checkSize(artifact: KvqArtifact, fitted: QuantizerArtifact): void {
  if (fitted.arrays.geometry === undefined) return;
  const { kvHeads, headDim, rotaryDim } = decodeGeometry(fitted);
  const { shape, rope } = artifact;
  if (kvHeads !== shape.kvHeads || headDim !== shape.headDim || rotaryDim !== rope.rotaryDim) {
    throw corrupt(`artifact ${artifact.cache}: ${fitted.id}`, `${shape.kvHeads} KV heads x ${shape.headDim}, rotary dim ${rope.rotaryDim}`, `${kvHeads} x ${headDim}, ${rotaryDim}`);
  }
}
