/** Attention that reads pages, as a plug-in would: it keeps copies of exact tokens as long as it may, decodes pages by itself, and answers query by query. */

import { applyRope } from "@kvquant/rope";
import type { Rope } from "@kvquant/rope";
import type { BlockCodec, CacheShape } from "@kvquant/spec";

import type { LayerAttention, PageAttention, PageAttentionCall } from "./page-attention.js";
import { referenceAttention } from "./testing/index.js";

/** What it works for. */
export interface MirrorOptions {
  readonly shape: CacheShape;
  readonly rope: Rope;
  readonly key: BlockCodec;
  readonly value: BlockCodec;
}

/** Counts of what was asked of it. */
export interface Mirror extends PageAttention {
  /** Exact tokens read so far. */
  readonly read: () => number;
  /** Layers open now. */
  readonly open: () => number;
}

export function createMirror(options: MirrorOptions): Mirror {
  let read = 0;
  let open = 0;
  const { shape, rope } = options;
  const cols = shape.kvHeads * shape.headDim;

  function openLayer(known: ReadonlyMap<number, readonly [Float32Array, Float32Array]>): LayerAttention {
    open++;
    const exact = new Map(known);
    return {
      attend: async (call) => {
        for (let row = 0; row < call.q.rows; row++) attendRow(call, row, exact);
      },
      forget(position) {
        for (const held of [...exact.keys()]) if (held >= position) exact.delete(held);
      },
      fork: () => openLayer(exact),
      release() {
        open--;
      },
    };
  }

  function attendRow(call: PageAttentionCall, row: number, exact: Map<number, readonly [Float32Array, Float32Array]>): void {
    const keys = call.length - call.q.rows + row + 1;
    const k = new Float32Array(keys * cols);
    const v = new Float32Array(keys * cols);
    const seen = call.pages.slice(0, call.visible[row]);
    for (const { start, tokens, key, value } of seen) {
      const block = { data: new Float32Array(key.tokens * cols), rows: key.tokens, cols };
      options.key.decode(key, block);
      k.set(block.data.subarray(0, tokens * cols), start * cols);
      options.value.decode(value, block);
      v.set(block.data.subarray(0, tokens * cols), start * cols);
    }
    const last = seen.at(-1);
    const exactFrom = last === undefined ? call.sinks : last.start + last.tokens;
    for (let position = 0; position < keys; position = position + 1 === call.sinks ? Math.max(exactFrom, call.sinks) : position + 1) {
      if (position >= call.sinks && position < exactFrom) position = exactFrom;
      if (position >= keys) break;
      if (!exact.has(position)) {
        const token = [new Float32Array(cols), new Float32Array(cols)] as const;
        call.readExact({ first: position, count: 1 }, ...token);
        exact.set(position, token);
        read++;
      }
      k.set(exact.get(position)![0], position * cols);
      v.set(exact.get(position)![1], position * cols);
    }
    attendHeads(call, row, k, v);
  }

  function attendHeads(call: PageAttentionCall, row: number, k: Float32Array, v: Float32Array): void {
    const { queryHeads, kvHeads, headDim } = shape;
    const keys = k.length / cols;
    const table = rope.tables(0, keys, keys);
    const { rotaryDim } = rope.config;
    const query = call.q.data.slice(row * queryHeads * headDim, (row + 1) * queryHeads * headDim);
    applyRope(k, table, { rows: keys, heads: kvHeads, headDim, rotaryDim, pairing: "half", offset: 0 });
    applyRope(query, table, { rows: 1, heads: queryHeads, headDim, rotaryDim, pairing: "half", offset: keys - 1 });
    const slice = (x: Float32Array, heads: number, head: number): Float32Array => Float32Array.from({ length: keys * headDim }, (_, i) => x[(Math.floor(i / headDim) * heads + head) * headDim + (i % headDim)]!);
    for (let head = 0; head < queryHeads; head++) {
      const kvHead = Math.floor((head * kvHeads) / queryHeads);
      const block = { q: query.subarray(head * headDim, (head + 1) * headDim), k: slice(k, kvHeads, kvHead), v: slice(v, kvHeads, kvHead), group: 1, queries: 1, keys, headDim, scale: 1 / Math.sqrt(headDim) };
      call.out.data.set(referenceAttention(block), (row * queryHeads + head) * headDim);
    }
  }

  return { specVersion: 1, id: "mirror", openLayer: () => openLayer(new Map()), read: () => read, open: () => open };
}
