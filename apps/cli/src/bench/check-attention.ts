/** Compares the native attention of one head with float64 over the same stored tokens. */

import type { NativeKvCache } from "@kvquant/cpu";
import { KvquantError, PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, EncodedBlock } from "@kvquant/spec";
import { createExactAttention } from "./exact-attention.js";
import { syntheticRopeBase } from "./synthetic-layer.js";
import type { SyntheticLayer } from "./synthetic-layer.js";
import type { SyntheticTokens } from "./synthetic-tokens.js";

/** What is compared. */
export interface AttentionCheck {
  readonly cache: NativeKvCache;
  readonly layer: SyntheticLayer | "fp16";
  readonly tokens: SyntheticTokens;
  /** `[queryHeads * headDim]`, asked at the newest position. */
  readonly query: Float32Array;
  /** What the cache answered in layer 0, `[queryHeads * headDim]`. */
  readonly output: Float32Array;
}

/** Values are of the order of 1. Keys are stored in fp16 after RoPE where they are exact; compressed pages are read in 16-bit arithmetic. */
const attentionErrorBound = { fp16: 4e-3, compressed: 1e-2 } as const;

/**
 * Largest difference over the channels of the last query head of layer 0. Pages are decoded by the TypeScript codecs; sinks and the newest tokens are the inputs themselves.
 * @throws CORRUPT_DATA when it is above the bound: a wrong answer is not worth timing
 */
export function checkAttention(check: AttentionCheck): number {
  const { cache, layer, output } = check;
  const { headDim } = cache.shape;
  const exact = attendExactly(check);
  let error = 0;
  for (let channel = 0; channel < headDim; channel++) {
    const difference = Math.abs(exact[channel]! - output[output.length - headDim + channel]!);
    if (!(difference <= error)) error = difference; // Keeps NaN.
  }
  const bound = layer === "fp16" ? attentionErrorBound.fp16 : attentionErrorBound.compressed;
  if (error <= bound) return error;
  const name = layer === "fp16" ? "fp16" : layer.preset;
  throw new KvquantError("CORRUPT_DATA", `bench: ${name}, head dim ${headDim}, ${cache.length} tokens: expected native attention within ${bound} of float64, got ${error}; not timed, please report it`);
}

function attendExactly({ cache, layer, tokens, query }: AttentionCheck): Float64Array {
  const { kvHeads, headDim } = cache.shape;
  const { columns } = tokens;
  const offset = (kvHeads - 1) * headDim;
  const attention = createExactAttention({ query: query.subarray(query.length - headDim), position: cache.length - 1, ropeBase: syntheticRopeBase });
  const keys = new Float32Array(PAGE_TOKENS * columns);
  const values = new Float32Array(PAGE_TOKENS * columns);
  let next = 0;
  const addExact = (end: number): void => {
    for (; next < end; next++) attention.add(next, { key: tokens.key(next), value: tokens.value(next), offset });
  };
  for (const page of layer === "fp16" ? [] : cache.layer(0).pages()) {
    const { reference } = layer as SyntheticLayer;
    addExact(page.start);
    decodeBlock(reference.key, page.key, keys, columns);
    decodeBlock(reference.value, page.value, values, columns);
    for (let row = 0; row < page.tokens; row++, next++) attention.add(next, { key: keys, value: values, offset: offset + row * columns });
  }
  addExact(cache.length);
  return attention.result();
}

function decodeBlock(codec: BlockCodec, block: EncodedBlock, data: Float32Array, columns: number): void {
  codec.decode(block, { data: data.subarray(0, block.tokens * columns), rows: block.tokens, cols: columns });
}
