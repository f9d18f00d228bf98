/** Native codecs of the built-in quantizers: the bytes and numbers of `@kvquant/quant`, faster. */

import { channelOfCode } from "@kvquant/quant";
import { KvquantError, PAGE_TOKENS, callNative, check, checkFinite, checkInteger, checkLength } from "@kvquant/spec";
import type { BlockCodec, QuantizerArtifact, Side } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonCodec, KeyCodecOptions, ValueCodecOptions } from "./addon.js";
import { chooseIsa, isaNumber } from "./isa.js";
import type { Isa } from "./isa.js";

/** A codec with the addon's handle, which native caches are made of. */
export interface NativeCodec extends BlockCodec {
  readonly handle: AddonCodec;
  readonly side: Side;
  readonly bits: number;
  readonly isa: Isa;
}

/** Head dims whose pages kernels are tuned for; other multiples of 16 up to 256 work, slower. */
export const TUNED_HEAD_DIMS: readonly number[] = [64, 80, 96, 128, 256];

const SIDES: Readonly<Record<string, Side>> = {
  "kvquant/channel-keys": "key",
  "kvquant/page-keys": "key",
  "kvquant/token-values": "value",
  "kvquant/rotated-values": "value",
};

/** Why no native codec exists for a fitted quantizer; undefined when one does. */
export function explainNativeCodec(artifact: QuantizerArtifact): string | undefined {
  const side = SIDES[artifact.id];
  if (side === undefined) return `no kernels for quantizer ${artifact.id}; there are for ${Object.keys(SIDES).join(", ")}`;
  const [, headDim] = artifact.arrays.geometry ?? [];
  if (headDim === undefined || headDim % 16 !== 0 || headDim > 256) return `no page kernels for head dim ${headDim}; there are for multiples of 16 up to 256, tuned for ${TUNED_HEAD_DIMS.join(", ")}`;
  if (artifact.bits < 2 || artifact.bits > 5) return `no page kernels for ${artifact.bits} bits; there are for 2, 3, 4 and 5`;
  return undefined;
}

/**
 * Opens a fitted quantizer natively.
 * @throws UNSUPPORTED when no kernel exists for it, naming what exists; CORRUPT_DATA for arrays of the wrong length
 */
export function openNativeCodec(artifact: QuantizerArtifact, options: { readonly isa?: Isa } = {}): NativeCodec {
  const reason = explainNativeCodec(artifact);
  if (reason !== undefined) throw new KvquantError("UNSUPPORTED", `openNativeCodec: ${reason}`);
  const side = SIDES[artifact.id]!;
  const isa = chooseIsa(options.isa);
  const { KeyCodec, ValueCodec } = loadAddon();
  const handle = callNative(() => (side === "key" ? new KeyCodec({ isa: isaNumber(isa), ...keyCodecOptions(artifact) }) : new ValueCodec({ isa: isaNumber(isa), ...valueCodecOptions(artifact) })), artifact.id);
  const [kvHeads = 0, headDim = 0] = artifact.arrays.geometry!;
  const columns = kvHeads * headDim;
  return {
    handle,
    side,
    bits: artifact.bits,
    isa,
    encode(x) {
      checkInteger("encode: tokens", x.rows, { minimum: 1, maximum: PAGE_TOKENS });
      check(x.cols === columns, "encode: columns", `${columns} (kvHeads * headDim)`, x.cols);
      checkLength("encode: data", x.data, x.rows * columns);
      checkFinite("encode: x", x.data);
      return { tokens: x.rows, ...callNative(() => handle.encode(x.data, x.rows)) };
    },
    decode(block, out) {
      check(out.rows === block.tokens && out.cols === columns, "decode: out", `a matrix [${block.tokens}, ${columns}]`, `[${out.rows}, ${out.cols}]`);
      checkLength("decode: out.data", out.data, out.rows * columns);
      callNative(() => handle.decode(block.bytes, block.tokens, out.data));
    },
  };
}

function sizes(artifact: QuantizerArtifact): { readonly kvHeads: number; readonly headDim: number; readonly rotaryDim: number } {
  const [kvHeads = 0, headDim = 0, rotaryDim = 0] = artifact.arrays.geometry!;
  // Numbers codes the way the packages do, or throws for sizes that make no sense.
  channelOfCode({ kvHeads, headDim, rotaryDim });
  return { kvHeads, headDim, rotaryDim };
}

/** Sizes and arrays of a fitted key quantizer as native code takes them. @throws CORRUPT_DATA for missing arrays */
export function keyCodecOptions(artifact: QuantizerArtifact): KeyCodecOptions {
  const { arrays, stages } = artifact;
  const pageScales = artifact.id === "kvquant/page-keys";
  const feedback = stages.includes("feedback");
  return {
    ...sizes(artifact),
    bits: artifact.bits,
    pageScales,
    outliers: stages.includes("outliers:channel"),
    scale: required(artifact, "scale"),
    zero: required(artifact, "zero"),
    low: pageScales ? undefined : required(artifact, "low"),
    high: pageScales ? undefined : required(artifact, "high"),
    levels: required(artifact, "levels"),
    midpoints: required(artifact, "midpoints"),
    feedbackOrder: feedback ? arrays.feedbackOrder : undefined,
    feedbackWeights: feedback ? arrays.feedbackWeights : undefined,
  };
}

/** Sizes and arrays of a fitted value quantizer as native code takes them. @throws CORRUPT_DATA for missing arrays */
export function valueCodecOptions(artifact: QuantizerArtifact): ValueCodecOptions {
  const rotated = artifact.id === "kvquant/rotated-values";
  return {
    ...sizes(artifact),
    bits: artifact.bits,
    rotated,
    outlierCount: rotated ? 0 : required(artifact, "outliers")[0]!,
    levels: required(artifact, "levels"),
    midpoints: required(artifact, "midpoints"),
    mean: rotated ? required(artifact, "mean") : undefined,
    deviation: rotated ? required(artifact, "deviation") : undefined,
  };
}

function required(artifact: QuantizerArtifact, name: string): Float32Array {
  const array = artifact.arrays[name];
  if (array === undefined) throw new KvquantError("CORRUPT_DATA", `artifact ${artifact.id}: expected an array ${name}, got none`);
  return array;
}
