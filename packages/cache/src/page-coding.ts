/** From exact tokens to a page and back to rotated rows. */

import { applyRope } from "@kvquant/rope";
import type { RopeTable } from "@kvquant/rope";
import { KvquantError, PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, CacheShape, EncodedBlock, Side } from "@kvquant/spec";

import type { CachePage } from "./cache-page.js";
import type { LayerPlan } from "./layer-plan.js";
import type { LayerTokens } from "./layer-tokens.js";

/** Sizes and angles that coding a page depends on. */
export interface CodingContext {
  readonly shape: CacheShape;
  /** Rotations of positions 0 to the end of the sequence. */
  readonly table: RopeTable;
}

/**
 * Encodes the next `count` pages after the closed ones; the last may be partial when it reaches the end of the sequence.
 * Codecs see the fp16-rounded tokens, so bytes do not depend on how tokens were grouped into appends.
 */
export function encodePages(tokens: LayerTokens, count: number, plan: LayerPlan, context: CodingContext): CachePage[] {
  const cols = context.shape.kvHeads * context.shape.headDim;
  const pages: CachePage[] = [];
  // One buffer a side for all pages: codecs borrow their input for the call.
  const keyRows = new Float32Array(count === 0 ? 0 : PAGE_TOKENS * cols);
  const valueRows = new Float32Array(keyRows.length);
  for (let index = 0; index < count; index++) {
    const first = index * PAGE_TOKENS;
    const rows = Math.min(PAGE_TOKENS, tokens.open.tokens - first);
    const start = tokens.openStart() + first;
    const keys = keyRows.subarray(0, rows * cols);
    tokens.open.read("key", { first, count: rows }, keys);
    if (plan.keyFrame === "post-rope") rotateKeys(keys, start, rows, context);
    const values = valueRows.subarray(0, rows * cols);
    tokens.open.read("value", { first, count: rows }, values);
    const key = encodeSide("key", plan.key, { data: keys, rows, cols });
    const value = encodeSide("value", plan.value, { data: values, rows, cols });
    pages.push({ start, tokens: rows, key, value });
  }
  return pages;
}

/**
 * Decodes the valid rows of one side of a page into `out` `[64, cols]`: keys rotated to their positions, values as they are.
 * @throws CORRUPT_DATA from the codec
 */
export function decodePage(page: CachePage, side: Side, plan: LayerPlan, context: CodingContext & { readonly out: Float32Array }): Float32Array {
  const cols = context.shape.kvHeads * context.shape.headDim;
  const block = page[side];
  const out = context.out.subarray(0, block.tokens * cols);
  plan[side].decode(block, { data: out, rows: block.tokens, cols });
  const rows = out.subarray(0, page.tokens * cols);
  if (side === "key" && plan.keyFrame === "pre-rope") rotateKeys(rows, page.start, page.tokens, context);
  return rows;
}

/** Rotates `rows` keys of all KV heads in place; the first is at position `start`. */
export function rotateKeys(keys: Float32Array, start: number, rows: number, context: CodingContext): void {
  const { shape, table } = context;
  const rotaryDim = (2 * table.cos.length) / table.count;
  applyRope(keys, table, { rows, heads: shape.kvHeads, headDim: shape.headDim, rotaryDim, pairing: "half", offset: start });
}

function encodeSide(side: Side, codec: BlockCodec, x: { readonly data: Float32Array; readonly rows: number; readonly cols: number }): EncodedBlock {
  const block = codec.encode(x);
  if (block.tokens !== x.rows) throw new KvquantError("INVALID_ARGUMENT", `${side} codec: expected a block of ${x.rows} tokens, got ${block.tokens}`);
  return block;
}
