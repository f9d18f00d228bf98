/** The codec of rows quantized token by token over all KV heads. */

import { floatFromHalf } from "@kvquant/packing";
import type { OutlierEntries } from "@kvquant/sparse";
import { PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, EncodedBlock, Matrix } from "@kvquant/spec";
import { checkOut, checkPage } from "../check-matrix.js";
import type { Geometry } from "../geometry.js";
import { finiteHalf, finiteHalfBits } from "../numeric/half-array.js";
import { inverseOf } from "../numeric/inverse-of.js";
import { meanInOrder, selectLargestDeviations } from "../numeric/largest-deviations.js";
import { findCodes } from "../numeric/level-search.js";
import type { OpenLevels } from "./fitted-levels.js";
import type { HeadPacking } from "./head-packing.js";
import { addOutliers, OUTLIER_SLOTS, rankOutliers } from "./outlier-mask.js";
import { blockWriter, parseBlock } from "./page-layout.js";
import type { PageLayout } from "./page-layout.js";
import { readTokenHalves, TOKEN_ARRAY_BYTES, writeTokenHalves } from "./token-data.js";

/** A token quantizer with everything fitted. */
export interface TokenPlan {
  readonly geometry: Geometry;
  readonly levels: OpenLevels;
  readonly packing: HeadPacking;
  /** Channel within the head of each code index. */
  readonly channels: Uint16Array;
  /** Outliers of a token over all heads; above 0, heads carry an outlier section. */
  readonly outliers: number;
}

/** What is known of a page before its codes: number bits and values of each token `[64]`, outliers `[64, outliers]`. */
interface TokenPage {
  readonly scaleBits: Uint16Array;
  readonly zeroBits: Uint16Array;
  readonly scales: Float32Array;
  readonly zeros: Float32Array;
  /** `head * headDim + code index` of each outlier, ascending within a token. */
  readonly chosen: Uint32Array;
}

/**
 * Makes the codec. All arithmetic is fp32, for each token: mean = sum in channel order / C; outliers by |x - mean|, ties to the lower channel;
 * scale = fp16((high - low) / 2), zero = fp16((high + low) / 2) of the rest; x_n = (x - zero) * (1 / scale); decoded = level * scale + zero;
 * delta = fp16(x - decoded).
 */
export function tokenCodec(plan: TokenPlan): BlockCodec {
  const { geometry, packing, channels, levels: open } = plan;
  const { kvHeads, headDim } = geometry;
  const columns = kvHeads * headDim;
  const layout: PageLayout = { kvHeads, headDim, packing, sideBytes: 0, outliers: plan.outliers > 0, tokenArrays: 2 };
  const { levels } = open;
  const measure = tokenMeasure(plan);
  const codes = new Uint8Array(PAGE_TOKENS * headDim);
  const normalised = new Float32Array(PAGE_TOKENS * headDim);
  const scales = new Float32Array(PAGE_TOKENS);
  const zeros = new Float32Array(PAGE_TOKENS);

  function encodeHead(data: Float32Array, tokens: number, head: number, page: TokenPage): void {
    for (let token = 0; token < tokens; token++) {
      const zero = page.zeros[token]!;
      const inverse = inverseOf(page.scales[token]!);
      const from = token * columns + head * headDim;
      for (let code = 0; code < headDim; code++) normalised[token * headDim + code] = Math.fround(data[from + channels[code]!]! - zero) * inverse;
    }
    findCodes(open, normalised, 0, tokens * headDim, codes);
  }

  return {
    encode(x: Matrix): EncodedBlock {
      checkPage(x, columns);
      const tokens = x.rows;
      const writer = blockWriter(layout);
      let saturated = 0;
      if (tokens < PAGE_TOKENS) codes.fill(0);
      const page = measure(x);
      const cursor = new Uint32Array(tokens);
      for (let head = 0; head < kvHeads; head++) {
        encodeHead(x.data, tokens, head, page);
        if (!layout.outliers) {
          writer.addHead({ codes, side: undefined, outliers: undefined });
          continue;
        }
        const section = listOutliers({ plan, page, x, head, codes, normalised }, cursor);
        saturated += section.saturated;
        writer.addHead({ codes, side: undefined, outliers: section.entries });
      }
      const bytes = writer.finish((target, offset) => {
        writeTokenHalves(target, offset, page.scaleBits, tokens);
        writeTokenHalves(target, offset + TOKEN_ARRAY_BYTES, page.zeroBits, tokens);
      });
      return { tokens, bytes, saturated, clamped: 0 };
    },
    decode(block: EncodedBlock, out: Matrix): void {
      const sections = parseBlock(layout, block);
      readTokenHalves(block.bytes, sections.tokenData, block.tokens, scales);
      readTokenHalves(block.bytes, sections.tokenData + TOKEN_ARRAY_BYTES, block.tokens, zeros);
      checkOut(out, block.tokens, columns);
      const { data } = out;
      for (let head = 0; head < kvHeads; head++) {
        const section = sections.heads[head]!;
        packing.unpack(block.bytes.subarray(section.codes, section.codes + packing.byteLength), codes);
        for (let token = 0; token < block.tokens; token++) {
          const scale = scales[token]!;
          const zero = zeros[token]!;
          const to = token * columns + head * headDim;
          const from = token * headDim;
          for (let code = 0; code < headDim; code++) data[to + channels[code]!] = Math.fround(levels[codes[from + code]!]! * scale) + zero;
        }
        addOutliers(section.outliers, out, head * headDim, channels);
      }
    },
  };
}

/** Returns a function that chooses the outliers of every token and measures the rest; its result is valid until the next call. */
function tokenMeasure({ geometry, channels, outliers }: TokenPlan): (x: Matrix) => TokenPage {
  const { kvHeads, headDim } = geometry;
  const columns = kvHeads * headDim;
  const page: TokenPage = {
    scaleBits: new Uint16Array(PAGE_TOKENS),
    zeroBits: new Uint16Array(PAGE_TOKENS),
    scales: new Float32Array(PAGE_TOKENS),
    zeros: new Float32Array(PAGE_TOKENS),
    chosen: new Uint32Array(PAGE_TOKENS * outliers),
  };
  const largest = new Uint32Array(outliers);
  const deviations = new Float32Array(outliers);
  const isOutlier = new Uint8Array(columns);
  const codeColumn = new Uint32Array(columns);
  for (let head = 0; head < kvHeads; head++) channels.forEach((channel, code) => (codeColumn[head * headDim + channel] = head * headDim + code));

  return ({ data, rows }) => {
    for (let token = 0; token < rows; token++) {
      const start = token * columns;
      if (outliers > 0) {
        selectLargestDeviations(data, { start, length: columns, center: meanInOrder(data, start, columns) }, largest, deviations, outliers);
        // Insertion sort: few numbers, and no view of the array a token.
        for (let index = 0; index < outliers; index++) {
          isOutlier[largest[index]!] = 1;
          const column = codeColumn[largest[index]!]!;
          let place = token * outliers + index;
          while (place > token * outliers && page.chosen[place - 1]! > column) {
            page.chosen[place] = page.chosen[place - 1]!;
            place--;
          }
          page.chosen[place] = column;
        }
      }
      let low = Number.POSITIVE_INFINITY;
      let high = Number.NEGATIVE_INFINITY;
      for (let column = 0; column < columns; column++) {
        const value = data[start + column]!;
        if ((value >= low && value <= high) || isOutlier[column] === 1) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
      for (let index = 0; index < outliers; index++) isOutlier[largest[index]!] = 0;
      // + 0 makes -0, which depends on the order of comparisons, 0.
      page.scaleBits[token] = finiteHalfBits(Math.fround(Math.fround(high - low) / 2) + 0);
      page.zeroBits[token] = finiteHalfBits(Math.fround(Math.fround(high + low) / 2) + 0);
      page.scales[token] = floatFromHalf(page.scaleBits[token]!);
      page.zeros[token] = floatFromHalf(page.zeroBits[token]!);
    }
    return page;
  };
}

interface EncodedHead {
  readonly plan: TokenPlan;
  readonly page: TokenPage;
  readonly x: Matrix;
  readonly head: number;
  /** `[64, headDim]` by code index. */
  readonly codes: Uint8Array;
  readonly normalised: Float32Array;
}

/** The outlier section of one head. `cursor` `[tokens]` points at each token's first outlier of this head, and is moved to the next head's. */
function listOutliers({ plan, page, x, head, codes, normalised }: EncodedHead, cursor: Uint32Array): { entries: OutlierEntries; saturated: number } {
  const { outliers, channels, levels: open } = plan;
  const { headDim } = plan.geometry;
  const counts = new Uint8Array(PAGE_TOKENS);
  const deltas: number[] = [];
  const indices: number[] = [];
  let saturated = 0;

  function keep(token: number, column: number): void {
    const code = column - head * headDim;
    const decoded = Math.fround(Math.fround(open.levels[codes[token * headDim + code]!]! * page.scales[token]!) + page.zeros[token]!);
    deltas.push(finiteHalf(Math.fround(x.data[token * x.cols + head * headDim + channels[code]!]! - decoded)));
    indices.push(code);
  }

  for (let token = 0; token < x.rows; token++) {
    const first = token * outliers + cursor[token]!;
    let end = first;
    while (end < (token + 1) * outliers && page.chosen[end]! < (head + 1) * headDim) end++;
    cursor[token] = end - token * outliers;
    counts[token] = Math.min(end - first, OUTLIER_SLOTS);
    if (end - first <= OUTLIER_SLOTS) {
      for (let index = first; index < end; index++) keep(token, page.chosen[index]!);
      continue;
    }
    saturated += end - first - OUTLIER_SLOTS;
    const ranked = rankOutliers(Array.from(page.chosen.subarray(first, end), (column) => ({ row: column, code: column, magnitude: Math.abs(normalised[token * headDim + column - head * headDim]!) })));
    for (const column of Uint32Array.from(ranked.slice(0, OUTLIER_SLOTS), ({ code }) => code).sort()) keep(token, column);
  }
  return { entries: { tokens: x.rows, counts, deltas: Float32Array.from(deltas), indices: Uint8Array.from(indices) }, saturated };
}
