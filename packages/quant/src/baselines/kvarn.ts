/** Rotated heads with equal deviations along tokens and channels, rounded to integers. */

import { linear } from "@kvquant/packing";
import type { Side } from "@kvquant/spec";
import type { Geometry } from "../geometry.js";
import { applyHadamard, hadamardBlock } from "../numeric/hadamard.js";
import type { Quantizer } from "../quantizer.js";
import { balanceDeviations } from "./balance-deviations.js";
import { loadHalf, storeHalf } from "../numeric/half-numbers.js";
import { checkCodeWidth, openCodeWidth } from "./code-width.js";
import type { CodeWidth } from "./code-width.js";
import { baselineFrame } from "./integer.js";
import { pageQuantizer } from "../page-quantizer.js";
import type { PageMethod } from "../page-quantizer.js";

/** Options of `kvarn`. */
export interface KvarnOptions {
  readonly side: Side;
  readonly bits: CodeWidth;
}

/**
 * Each head of a page is rotated by the orthonormal Hadamard matrix (runs of the largest power of two that divides the head dim) and balanced by
 * `balanceDeviations`; then each line takes an asymmetric integer scale and zero point, with its balancing scale multiplied in, and each crossing line keeps
 * its balancing scale, all fp16. Lines are channels for keys (after RoPE) and tokens for values. A block is the codes (linear, token after token), then for
 * each head the scale and zero point of each line and the scale of each crossing line. Nothing is calibrated.
 * Source: Muller et al. 2026, "KVarN: Variance-Normalized KV-Cache Quantization"; its tiles are of 64 or 128 tokens, here of a page.
 * @throws INVALID_ARGUMENT
 */
export function kvarn({ side, bits }: KvarnOptions): Quantizer {
  checkCodeWidth("kvarn", bits);
  const lines = side === "key" ? "channel" : "token";
  return pageQuantizer({
    id: `baseline/kvarn-${side}s`,
    side,
    frame: baselineFrame(side),
    fit: ({ geometry }) => ({
      bits,
      packing: linear(bits).id,
      stages: [...(side === "key" ? ["rope"] : []), `hadamard:${hadamardBlock(geometry.headDim)}`, "balance", `integer:${lines}`],
      arrays: {},
    }),
    open(artifact, geometry) {
      return kvarnMethod(openCodeWidth(artifact), side, geometry);
    },
  });
}

/** Where a head's lines lie in a page. */
interface HeadLines {
  readonly lines: number;
  readonly crossing: number;
  readonly start: number;
  /** Distance between lines, and between the values of a line. */
  readonly lineStride: number;
  readonly stride: number;
  /** Byte of the scale and zero point of line 0, and of the scale of crossing line 0. */
  readonly lineData: number;
  readonly crossingData: number;
}

function kvarnMethod(bits: 2 | 3 | 4, side: Side, { kvHeads, headDim }: Geometry): PageMethod {
  const columns = kvHeads * headDim;
  const packing = linear(bits);
  const last = 2 ** bits - 1;
  const block = hadamardBlock(headDim);
  const codeBytes = (tokens: number): number => packing.byteLength(tokens * columns);
  const headBytes = (tokens: number): number => (side === "key" ? 4 * headDim + 2 * tokens : 4 * tokens + 2 * headDim);

  function headLines(head: number, tokens: number): HeadLines {
    const [lines, crossing] = side === "key" ? [headDim, tokens] : [tokens, headDim];
    const [lineStride, stride] = side === "key" ? [1, columns] : [columns, 1];
    const lineData = codeBytes(tokens) + head * headBytes(tokens);
    return { lines, crossing, start: head * headDim, lineStride, stride, lineData, crossingData: lineData + 4 * lines };
  }

  return {
    byteLength: (tokens) => codeBytes(tokens) + kvHeads * headBytes(tokens),
    write(x, tokens, bytes) {
      applyHadamard(x, block);
      const codes = new Uint8Array(tokens * columns);
      for (let head = 0; head < kvHeads; head++) writeHead(x, headLines(head, tokens), { bytes, codes, last });
      packing.pack(codes, bytes.subarray(0, codeBytes(tokens)));
    },
    read(bytes, tokens, out) {
      const codes = packing.unpack(bytes.subarray(0, codeBytes(tokens)), tokens * columns);
      for (let head = 0; head < kvHeads; head++) {
        const { lines, crossing, start, lineStride, stride, lineData, crossingData } = headLines(head, tokens);
        const gains = Float64Array.from({ length: crossing }, (_, cross) => loadHalf(bytes, crossingData + 2 * cross));
        for (let line = 0; line < lines; line++) {
          const scale = loadHalf(bytes, lineData + 4 * line);
          const zero = loadHalf(bytes, lineData + 4 * line + 2);
          for (let cross = 0; cross < crossing; cross++) {
            const place = start + line * lineStride + cross * stride;
            out[place] = (codes[place]! * scale + zero) * gains[cross]!;
          }
        }
      }
      applyHadamard(out, block);
    },
  };
}

function writeHead(x: Float32Array, { lines, crossing, start, lineStride, stride, lineData, crossingData }: HeadLines, out: { bytes: Uint8Array; codes: Uint8Array; last: number }): void {
  const { bytes, codes, last } = out;
  const data = new Float64Array(lines * crossing);
  for (let line = 0, index = 0; line < lines; line++) for (let cross = 0; cross < crossing; cross++) data[index++] = x[start + line * lineStride + cross * stride]!;
  const scales = balanceDeviations({ data, rows: lines, cols: crossing });
  const inverseGains = scales.col.map((scale, cross) => inverse(storeHalf(bytes, crossingData + 2 * cross, scale)));
  for (let line = 0; line < lines; line++) {
    // The balancing scale of the line is part of its scale and zero point: what is rounded is x over the crossing scales alone.
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (let cross = 0; cross < crossing; cross++) {
      const value = data[line * crossing + cross]! * inverseGains[cross]!;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const scale = storeHalf(bytes, lineData + 4 * line, (high - low) / last);
    const zero = storeHalf(bytes, lineData + 4 * line + 2, low);
    const perScale = inverse(scale);
    for (let cross = 0; cross < crossing; cross++) {
      const code = Math.floor((data[line * crossing + cross]! * inverseGains[cross]! - zero) * perScale + 0.5);
      codes[start + line * lineStride + cross * stride] = Math.min(last, Math.max(0, code));
    }
  }
}

function inverse(scale: number): number {
  return scale === 0 ? 0 : 1 / scale;
}
