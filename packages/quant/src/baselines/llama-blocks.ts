/** The cache types of llama.cpp, with or without its rotation. */

import { check, KvquantError } from "@kvquant/spec";
import type { QuantizerArtifact, Side } from "@kvquant/spec";
import { artifactArray, corrupt } from "../corrupt.js";
import type { Geometry } from "../geometry.js";
import { applyHadamard } from "../numeric/hadamard.js";
import type { Quantizer } from "../quantizer.js";
import { baselineFrame } from "./integer.js";
import { LLAMA_BLOCK, LLAMA_FORMATS } from "./llama-formats.js";
import type { LlamaFormat, LlamaFormatName } from "./llama-formats.js";
import { pageQuantizer } from "../page-quantizer.js";
import type { PageMethod } from "../page-quantizer.js";

/** Options of `llamaBlocks`. */
export interface LlamaBlocksOptions {
  readonly side: Side;
  readonly format: LlamaFormatName;
  /** Multiplies heads by a Hadamard matrix first, llama.cpp's default for quantized caches since April 2026. Default false. */
  readonly rotated?: boolean;
}

/** Smallest Hadamard matrix that llama.cpp rotates by, and the one it rotates values by. */
const SMALLEST_ROTATION = 64;

const PACKING = "llama.cpp/";

/**
 * Blocks of 32 channels of a token, keys after RoPE; token after token, nothing between blocks. Rotated: each run of n channels is multiplied by the
 * orthonormal n x n Hadamard matrix before, and again after decoding (llama.cpp rotates the query and the output instead, which is the same in exact
 * arithmetic); n is 64 for values, and for keys the largest 64 * 2^k that divides the head dim. Array: `rotation` = [n, or 0].
 * Source: llama.cpp, ggml-quants.c, and for the rotation llama-kv-cache.cpp (pull request 21038).
 * @throws INVALID_ARGUMENT for an unknown format
 */
export function llamaBlocks({ side, format, rotated = false }: LlamaBlocksOptions): Quantizer {
  check(Object.hasOwn(LLAMA_FORMATS, format), "llamaBlocks: format", Object.keys(LLAMA_FORMATS).join(", "), format);
  return pageQuantizer({
    id: `baseline/llama-blocks-${side}s`,
    side,
    frame: baselineFrame(side),
    fit({ geometry: { headDim } }) {
      if (headDim % LLAMA_BLOCK !== 0) throw new KvquantError("UNSUPPORTED", `${format}: expected a head dim that is a multiple of ${LLAMA_BLOCK}, the values of a block, got ${headDim}; llama.cpp refuses it too, use int4-token or another baseline`);
      if (rotated && headDim % SMALLEST_ROTATION !== 0) throw new KvquantError("UNSUPPORTED", `${format}+rot: expected a head dim that is a multiple of ${SMALLEST_ROTATION}, the smallest rotation of llama.cpp, got ${headDim}; use ${format}, which llama.cpp falls back to`);
      const rotation = rotated ? rotationOf(side, headDim) : 0;
      const stages = [...(side === "key" ? ["rope"] : []), ...(rotated ? [`hadamard:${rotation}`] : [])];
      return { bits: LLAMA_FORMATS[format].bits, packing: PACKING + format, stages, arrays: { rotation: Float32Array.of(rotation) } };
    },
    open(artifact, geometry) {
      const { headDim } = geometry;
      const [rotation] = artifactArray(artifact, "rotation", 1);
      if (headDim % LLAMA_BLOCK !== 0) throw corrupt(`artifact ${artifact.id}: head dim`, `a multiple of ${LLAMA_BLOCK}`, headDim);
      if (rotation !== 0 && (headDim % SMALLEST_ROTATION !== 0 || rotation !== rotationOf(side, headDim))) throw corrupt(`artifact ${artifact.id}: rotation`, "0 or that of the head dim", rotation);
      return blockMethod(openFormat(artifact), rotation, geometry);
    },
  });
}

function rotationOf(side: Side, headDim: number): number {
  let rotation = SMALLEST_ROTATION;
  if (side === "key") while (headDim % (2 * rotation) === 0) rotation *= 2;
  return rotation;
}

function openFormat(artifact: QuantizerArtifact): LlamaFormat {
  const name = artifact.packing.startsWith(PACKING) ? artifact.packing.slice(PACKING.length) : "";
  const format = Object.hasOwn(LLAMA_FORMATS, name) ? LLAMA_FORMATS[name as LlamaFormatName] : undefined;
  if (format?.bits !== artifact.bits) throw corrupt(`artifact ${artifact.id}: packing`, `${PACKING} and a format of its bits`, `${artifact.packing} of ${artifact.bits} bits`);
  return format;
}

function blockMethod(format: LlamaFormat, rotation: number, { kvHeads, headDim }: Geometry): PageMethod {
  const rowBlocks = (kvHeads * headDim) / LLAMA_BLOCK;
  return {
    byteLength: (tokens) => tokens * rowBlocks * format.bytes,
    write(x, tokens, bytes) {
      if (rotation !== 0) applyHadamard(x, rotation);
      for (let block = 0; block < tokens * rowBlocks; block++) format.write(x, block * LLAMA_BLOCK, bytes, block * format.bytes);
    },
    read(bytes, tokens, out) {
      for (let block = 0; block < tokens * rowBlocks; block++) format.read(bytes, block * format.bytes, out, block * LLAMA_BLOCK);
      if (rotation !== 0) applyHadamard(out, rotation);
    },
  };
}
