/** A model of random weights: as fast as a trained one of its shape, and nothing to download. */

import { NativeModel } from "@kvquant/cpu";
import type { MatrixPart, NativeThreads, VectorPart } from "@kvquant/cpu";
import type { NamedShape } from "./model-shapes.js";
import type { StepModel } from "./step-model.js";

/** A Q4_0 block: 32 values in a scale and 16 bytes (type 2 of the ggml specification). */
const blockType = 2;
const blockValues = 32;
const blockBytes = 18;
/** 2^-8 in fp16: activations stay of the order of 1. */
const blockScale = 0x1c00;

/** Makes and packs the weights; dispose `native` to free them. */
export function createRandomModel(shape: NamedShape, threads: NativeThreads): StepModel {
  const { layers, width, queryHeads, kvHeads, headDim, feedForward, vocabulary } = shape;
  const native = new NativeModel(shape, { threads });
  const [queries, keys] = [queryHeads * headDim, kvHeads * headDim];
  const sizes: [Exclude<MatrixPart, "output">, number, number][] = [
    ["query", queries, width],
    ["key", keys, width],
    ["value", keys, width],
    ["attention_output", width, queries],
    ["gate", feedForward, width],
    ["up", feedForward, width],
    ["down", width, feedForward],
  ];
  const vectors: [VectorPart, number, number][] = [
    ["attention_norm", width, 1],
    ["ffn_norm", width, 1],
    ...(shape.attentionBias ? ([["query_bias", queries, 0], ["key_bias", keys, 0], ["value_bias", keys, 0]] as [VectorPart, number, number][]) : []),
    ...(shape.queryKeyNorm ? ([["query_norm", headDim, 1], ["key_norm", headDim, 1]] as [VectorPart, number, number][]) : []),
  ];
  try {
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, rows, cols] of sizes) setRandom(native, layer, part, { rows, cols });
      for (const [part, length, number] of vectors) native.setVector(layer, part, new Float32Array(length).fill(number));
    }
    setRandom(native, undefined, "output", { rows: vocabulary, cols: width });
    native.setVector(undefined, "output_norm", new Float32Array(width).fill(1));
    native.ready();
  } catch (error) {
    native.dispose();
    throw error;
  }
  return {
    id: `native-${native.isa}`,
    native,
    embeddings: (tokens) => Float32Array.from({ length: tokens.length * width }, (_, index) => ((tokens[Math.floor(index / width)]! * 7919 + (index % width) * 104_729) % 2003) / 1001 - 1),
  };
}

function setRandom(native: NativeModel, layer: number | undefined, part: MatrixPart, { rows, cols }: { readonly rows: number; readonly cols: number }): void {
  const rowBytes = (cols / blockValues) * blockBytes;
  // The same few rows again and again: products take as long whatever they multiply.
  native.setMatrix(layer, part, { type: blockType, rows, cols, rowBytes, read: (_first, count) => randomBlocks(count * rowBytes) });
}

let blocks = new Uint8Array(0);

function randomBlocks(bytes: number): Uint8Array {
  if (blocks.length < bytes) {
    blocks = new Uint8Array(bytes);
    let state = 1;
    for (let index = 0; index < bytes; index++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      blocks[index] = index % blockBytes < 2 ? blockScale >> (8 * (index % blockBytes)) : state >>> 24;
    }
  }
  return blocks.subarray(0, bytes);
}
