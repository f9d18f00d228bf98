/** NormalFloat codes with the largest magnitude of each group. */

import { midpoints, nearestCode, normalFloat } from "@kvquant/codebook";
import { linear } from "@kvquant/packing";
import type { Side } from "@kvquant/spec";
import type { Quantizer } from "../quantizer.js";
import { inverseOf } from "../numeric/inverse-of.js";
import { loadHalf, storeHalf } from "../numeric/half-numbers.js";
import { baselineFrame } from "./integer.js";
import { pageQuantizer } from "../page-quantizer.js";
import { checkCodeWidth, openCodeWidth } from "./code-width.js";
import type { CodeWidth } from "./code-width.js";
import { groupedCodes } from "./grouped-codes.js";
import type { GroupCoder } from "./grouped-codes.js";
import { checkGrouping, decodeGrouping, describeGrouping, encodeGrouping } from "./value-groups.js";
import type { Grouping } from "./value-groups.js";

/** Widths that `normalFloats` offers. */
export type NormalFloatBits = CodeWidth;

/** Options of `normalFloats`. */
export interface NormalFloatOptions extends Grouping {
  readonly side: Side;
  readonly bits: NormalFloatBits;
}

/**
 * NormalFloat levels times the largest magnitude of each group (fp16). A block is the codes (linear, token after token), then one half a group.
 * Source: Dettmers et al. 2023, "QLoRA", section 3; its block-wise absolute maximum, here along a token or a channel.
 * @throws INVALID_ARGUMENT
 */
export function normalFloats(options: NormalFloatOptions): Quantizer {
  const { side, bits } = options;
  checkCodeWidth("normalFloats", bits);
  checkGrouping("normalFloats", options);
  return pageQuantizer({
    id: `baseline/normal-float-${side}s`,
    side,
    frame: baselineFrame(side),
    fit: () => ({ bits, packing: linear(bits).id, stages: [...(side === "key" ? ["rope"] : []), `normal-float:${describeGrouping(options)}`], arrays: encodeGrouping(options) }),
    open(artifact, geometry) {
      const width = openCodeWidth(artifact);
      return groupedCodes(width, decodeGrouping(artifact), geometry, normalFloatCoder(width));
    },
  });
}

/** One half a group: its largest magnitude. */
function normalFloatCoder(bits: NormalFloatBits): GroupCoder {
  const levels = normalFloat(bits);
  const middles = midpoints(levels);
  return {
    bytes: 2,
    write(x, { start, stride, count, offset }, codes, bytes) {
      let largest = 0;
      for (let index = 0; index < count; index++) largest = Math.max(largest, Math.abs(x[start + index * stride]!));
      const inverse = inverseOf(storeHalf(bytes, offset, largest));
      for (let index = 0; index < count; index++) codes[start + index * stride] = nearestCode(middles, x[start + index * stride]! * inverse);
    },
    read(codes, { start, stride, count, offset }, out, bytes) {
      const largest = loadHalf(bytes, offset);
      for (let index = 0; index < count; index++) out[start + index * stride] = levels[codes[start + index * stride]!]! * largest;
    },
  };
}
