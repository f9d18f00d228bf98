/** The codec of keys quantized channel by channel: what offline and page-local scales, outliers and feedback rounding share. */

import { PAGE_TOKENS } from "@kvquant/spec";
import type { BlockCodec, EncodedBlock, Matrix } from "@kvquant/spec";
import { checkOut, checkPage } from "../check-matrix.js";
import { channelOfCode } from "../geometry.js";
import type { Geometry } from "../geometry.js";
import { finiteHalf } from "../numeric/half-array.js";
import { inverseOf } from "../numeric/inverse-of.js";
import { findCodes } from "../numeric/level-search.js";
import { openFeedback, subtractFeedback } from "./apply-feedback.js";
import type { OpenFeedback } from "./apply-feedback.js";
import type { OpenLevels } from "./fitted-levels.js";
import type { HeadPacking } from "./head-packing.js";
import { addOutliers, collectOutliers, limitOutliers } from "./outlier-mask.js";
import { blockWriter, parseBlock } from "./page-layout.js";
import type { PageLayout } from "./page-layout.js";

/** Scale and zero point of each channel of one head `[headDim]`, by channel. */
export interface HeadScales {
  readonly scale: Float32Array;
  readonly zero: Float32Array;
}

/** Where the scales of a head come from. */
export interface ScaleRule {
  /** Bytes stored with each head, 0 for scales that are known beforehand. */
  readonly sideBytes: number;
  /** Fills `scales` from the page `[headDim, 64]` of one head and `side` with what `read` needs; returns how many had to be clamped. */
  measure(head: number, page: Float32Array, tokens: number, scales: HeadScales, side: Uint8Array): number;
  /** Fills `scales` from stored bytes. */
  read(head: number, side: Uint8Array, scales: HeadScales): void;
}

/** Offline range of each channel; only with it are values outliers or counted as saturated. */
export interface KeyThresholds {
  /** `[kvHeads * headDim]` */
  readonly low: Float32Array;
  readonly high: Float32Array;
}

/** A key quantizer with everything fitted. */
export interface KeyPlan {
  readonly geometry: Geometry;
  readonly levels: OpenLevels;
  readonly packing: HeadPacking;
  readonly scales: ScaleRule;
  readonly thresholds?: KeyThresholds | undefined;
  /** Store what lies outside the thresholds exactly (fp16), up to 15 values a token and head. */
  readonly outliers: boolean;
  /** Rounding order `[kvHeads * headDim]` and weights `[kvHeads * headDim * (headDim - 1) / 2]`. */
  readonly feedback?: { readonly order: Float32Array; readonly weights: Float32Array } | undefined;
}

/**
 * Makes the codec. All arithmetic is fp32 without fused multiply-add, in this order, for each head and for channels in rounding order:
 * ```
 * for ranks j before z, ascending:  x_z = x_z - e_j * W_jz      (feedback only)
 * x_n  = (x - zero) * (1 / scale)                                (1 / 0 counts as 0)
 * code = count of midpoints < x_n                                (ties to the lower level)
 * q    = level[code] * scale + zero
 * in an outlier slot:  delta = fp16(x - q),  q = q + delta
 * e    = x - q
 * ```
 * Outliers are decided on the values as they came, before feedback.
 */
export function keyCodec(plan: KeyPlan): BlockCodec {
  const { geometry, packing, scales: rule } = plan;
  const { kvHeads, headDim } = geometry;
  const columns = kvHeads * headDim;
  const layout: PageLayout = { kvHeads, headDim, packing, sideBytes: rule.sideBytes, outliers: plan.outliers, tokenArrays: 0 };
  const channels = channelOfCode(geometry);
  const codeIndex = new Uint16Array(headDim);
  channels.forEach((channel, code) => (codeIndex[channel] = code));
  const feedback = plan.feedback && Array.from({ length: kvHeads }, (_, head) => openFeedback(plan.feedback!, head, headDim));
  const scratch = scratchFor(headDim);
  const scales: HeadScales = { scale: new Float32Array(headDim), zero: new Float32Array(headDim) };
  const side = new Uint8Array(rule.sideBytes);

  return {
    encode(x: Matrix): EncodedBlock {
      checkPage(x, columns);
      const tokens = x.rows;
      const writer = blockWriter(layout);
      let saturated = 0;
      let clamped = 0;
      if (tokens < PAGE_TOKENS) scratch.codes.fill(0);
      for (let head = 0; head < kvHeads; head++) {
        loadHead(x, head * headDim, headDim, scratch.page);
        clamped += rule.measure(head, scratch.page, tokens, scales, side);
        if (plan.thresholds) saturated += markOutliers(plan, head, tokens, scales, codeIndex, scratch);
        roundHead(scratch, plan.levels, { tokens, headDim, scales, codeIndex, outliers: plan.outliers, feedback: feedback?.[head] });
        const outliers = plan.outliers ? collectOutliers(scratch.mask, scratch.deltas, tokens, channels) : undefined;
        writer.addHead({ codes: scratch.codes, side: rule.sideBytes > 0 ? side : undefined, outliers });
      }
      return { tokens, bytes: writer.finish(), saturated, clamped };
    },
    decode(block: EncodedBlock, out: Matrix): void {
      const sections = parseBlock(layout, block);
      checkOut(out, block.tokens, columns);
      const { levels } = plan.levels;
      const { codes } = scratch;
      const { scale, zero } = scales;
      const { data } = out;
      for (let head = 0; head < kvHeads; head++) {
        const section = sections.heads[head]!;
        packing.unpack(block.bytes.subarray(section.codes, section.codes + packing.byteLength), codes);
        rule.read(head, block.bytes.subarray(section.side, section.side + rule.sideBytes), scales);
        for (let token = 0; token < block.tokens; token++) {
          const to = token * columns + head * headDim;
          const from = token * headDim;
          for (let code = 0; code < headDim; code++) {
            const channel = channels[code]!;
            data[to + channel] = Math.fround(levels[codes[from + code]!]! * scale[channel]!) + zero[channel]!;
          }
        }
        addOutliers(section.outliers, out, head * headDim, channels);
      }
    },
  };
}

/** Work space of one head, shared by all codecs of a head dim: encoding is synchronous. Rows are channels (`errors`: ranks) of 64 tokens. */
interface KeyScratch {
  readonly page: Float32Array;
  readonly errors: Float32Array;
  readonly deltas: Float32Array;
  readonly mask: Uint8Array;
  /** `[64, headDim]` by code index. */
  readonly codes: Uint8Array;
  /** One row, normalised, and its codes `[64]`. */
  readonly normalised: Float32Array;
  readonly rowCodes: Uint8Array;
}

const scratches = new Map<number, KeyScratch>();

function scratchFor(headDim: number): KeyScratch {
  let scratch = scratches.get(headDim);
  if (scratch === undefined) {
    const size = headDim * PAGE_TOKENS;
    scratch = {
      page: new Float32Array(size),
      errors: new Float32Array(size),
      deltas: new Float32Array(size),
      mask: new Uint8Array(size),
      codes: new Uint8Array(size),
      normalised: new Float32Array(PAGE_TOKENS),
      rowCodes: new Uint8Array(PAGE_TOKENS),
    };
    scratches.set(headDim, scratch);
  }
  return scratch;
}

function loadHead(x: Matrix, column: number, headDim: number, page: Float32Array): void {
  const { data, rows, cols } = x;
  for (let token = 0; token < rows; token++) {
    const from = token * cols + column;
    for (let channel = 0; channel < headDim; channel++) page[channel * PAGE_TOKENS + token] = data[from + channel]!;
  }
}

/** Marks values outside the thresholds in the mask (none stay marked without slots); returns how many saturate. */
function markOutliers(plan: KeyPlan, head: number, tokens: number, scales: HeadScales, codeIndex: Uint16Array, scratch: KeyScratch): number {
  const { low, high } = plan.thresholds!;
  const { page, mask } = scratch;
  const { headDim } = plan.geometry;
  let marked = 0;
  for (let channel = 0; channel < headDim; channel++) {
    const bottom = low[head * headDim + channel]!;
    const top = high[head * headDim + channel]!;
    const end = channel * PAGE_TOKENS + tokens;
    for (let place = channel * PAGE_TOKENS; place < end; place++) {
      const value = page[place]!;
      const outside = value < bottom || value > top ? 1 : 0;
      mask[place] = outside;
      marked += outside;
    }
  }
  if (!plan.outliers) return marked;
  if (marked === 0) return 0;
  return limitOutliers(mask, tokens, codeIndex, (channel, token) => Math.abs(Math.fround(Math.fround(page[channel * PAGE_TOKENS + token]! - scales.zero[channel]!) * inverseOf(scales.scale[channel]!))));
}

interface RoundOptions {
  readonly tokens: number;
  readonly headDim: number;
  readonly scales: HeadScales;
  readonly codeIndex: Uint16Array;
  readonly outliers: boolean;
  readonly feedback: OpenFeedback | undefined;
}

function roundHead(scratch: KeyScratch, open: OpenLevels, options: RoundOptions): void {
  const { tokens, headDim, scales, codeIndex, outliers, feedback } = options;
  for (let rank = 0; rank < headDim; rank++) {
    const channel = feedback ? feedback.order[rank]! : rank;
    const row = channel * PAGE_TOKENS;
    if (feedback && rank > 0) subtractFeedback(scratch.page, row, scratch.errors, feedback.byTarget, { rank, headDim, tokens });
    const scale = scales.scale[channel]!;
    roundRow(scratch, open, { row, errorRow: rank * PAGE_TOKENS, tokens, headDim, code: codeIndex[channel]!, scale, zero: scales.zero[channel]!, inverse: inverseOf(scale), outliers });
  }
}

interface Row {
  readonly row: number;
  readonly errorRow: number;
  readonly tokens: number;
  readonly headDim: number;
  readonly code: number;
  readonly scale: number;
  readonly zero: number;
  readonly inverse: number;
  readonly outliers: boolean;
}

function roundRow(scratch: KeyScratch, open: OpenLevels, options: Row): void {
  const { page, errors, mask, deltas, codes, normalised, rowCodes } = scratch;
  const { levels } = open;
  const { row, errorRow, tokens, headDim, code: column, scale, zero, inverse, outliers } = options;
  for (let token = 0; token < tokens; token++) normalised[token] = Math.fround(page[row + token]! - zero) * inverse;
  findCodes(open, normalised, 0, tokens, rowCodes);
  for (let token = 0; token < tokens; token++) {
    const code = rowCodes[token]!;
    const decoded = Math.fround(Math.fround(levels[code]! * scale) + zero);
    errors[errorRow + token] = page[row + token]! - decoded;
    codes[token * headDim + column] = code;
  }
  if (!outliers) return;
  for (let token = 0; token < tokens; token++) {
    if (mask[row + token] === 0) continue;
    // The plain error is fp32(x - decoded) already.
    const delta = finiteHalf(errors[errorRow + token]!);
    const decoded = Math.fround(Math.fround(levels[rowCodes[token]!]! * scale) + zero);
    deltas[row + token] = delta;
    errors[errorRow + token] = page[row + token]! - Math.fround(decoded + delta);
  }
}
