/** Sizes of well-known models, for benchmarks that need no weights but their shape. */

import type { NativeModelShape } from "@kvquant/cpu";

/** A model's sizes, or those of one of its layers. */
export interface NamedShape extends NativeModelShape {
  /** Layers that the whole model has, where `layers` is fewer. */
  readonly modelLayers?: number;
  /** Bytes of the whole model's weights in fp16, where known. */
  readonly modelWeightBytes?: number;
}

const plain = { normEpsilon: 1e-5, attentionBias: false, queryKeyNorm: false } as const;
const rope = (headDim: number, base: number): NativeModelShape["rope"] => ({ headDim, rotaryDim: headDim, base, scaling: { type: "none" } });

/** By name. */
const modelShapes = {
  smollm2: { ...plain, layers: 30, width: 576, queryHeads: 9, kvHeads: 3, headDim: 64, feedForward: 1536, vocabulary: 49_152, rope: rope(64, 100_000) },
  /** The head is cut to 32,768 of 151,936 rows: it has nothing to do with the cache. */
  "qwen2.5-1.5b": { ...plain, normEpsilon: 1e-6, attentionBias: true, layers: 28, width: 1536, queryHeads: 12, kvHeads: 2, headDim: 128, feedForward: 8960, vocabulary: 32_768, rope: rope(128, 1_000_000) },
  /** One layer of 32; its head would be a step's largest part and belongs to all of them, so it is next to nothing. */
  "llama-7b-layer": { ...plain, layers: 1, width: 4096, queryHeads: 32, kvHeads: 32, headDim: 128, feedForward: 11_008, vocabulary: 256, rope: rope(128, 10_000), modelLayers: 32, modelWeightBytes: 13.5e9 },
} as const satisfies Readonly<Record<string, NamedShape>>;

export type ShapeName = keyof typeof modelShapes;

export const shapeNames = Object.keys(modelShapes) as ShapeName[];

/** A shape with its optional parts visible. */
export function findShape(name: ShapeName): NamedShape {
  return modelShapes[name];
}
