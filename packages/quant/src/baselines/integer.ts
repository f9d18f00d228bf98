/** Asymmetric integers with a scale and a zero point of each group. */

import { linear } from "@kvquant/packing";
import { check } from "@kvquant/spec";
import type { Bits, Side } from "@kvquant/spec";
import { corrupt } from "../corrupt.js";
import type { Frame, Quantizer } from "../quantizer.js";
import { inverseOf } from "../numeric/inverse-of.js";
import { loadHalf, storeHalf } from "../numeric/half-numbers.js";
import { pageQuantizer } from "../page-quantizer.js";
import { groupedCodes } from "./grouped-codes.js";
import type { GroupCoder } from "./grouped-codes.js";
import { checkGrouping, decodeGrouping, describeGrouping, encodeGrouping } from "./value-groups.js";
import type { Grouping } from "./value-groups.js";

/** Widths that `integer` offers. */
export type IntegerBits = Exclude<Bits, 1>;

/** Options of `integer`. */
export interface IntegerOptions extends Grouping {
  readonly side: Side;
  readonly bits: IntegerBits;
}

const WIDTHS: readonly Bits[] = [2, 3, 4, 5, 8];

/** Keys of all baselines but coupled channels are quantized as caches without a recipe of their own hold them: after RoPE. */
export function baselineFrame(side: Side): Frame {
  return side === "key" ? "post-rope" : "pre-rope";
}

/**
 * Round-to-nearest integers: `scale = fp16((high - low) / (2^bits - 1))`, `zero = fp16(low)`, `code = round((x - zero) / scale)`, all from the page
 * itself. A block is the codes (linear, token after token), then scale and zero of each group, little-endian.
 * Source: the usual asymmetric uniform quantizer, as in Jacob et al. 2018, section 2.1; the groups of FlexGen (Sheng et al. 2023, section 5).
 * @throws INVALID_ARGUMENT
 */
export function integer(options: IntegerOptions): Quantizer {
  const { side, bits } = options;
  check(WIDTHS.includes(bits), "integer: bits", `one of ${WIDTHS.join(", ")}`, bits);
  checkGrouping("integer", options);
  return pageQuantizer({
    id: `baseline/integer-${side}s`,
    side,
    frame: baselineFrame(side),
    fit: () => ({ bits, packing: linear(bits).id, stages: [...(side === "key" ? ["rope"] : []), `integer:${describeGrouping(options)}`], arrays: encodeGrouping(options) }),
    open(artifact, geometry) {
      if (!WIDTHS.includes(artifact.bits)) throw corrupt(`artifact ${artifact.id}: bits`, `one of ${WIDTHS.join(", ")}`, artifact.bits);
      return groupedCodes(artifact.bits, decodeGrouping(artifact), geometry, integerCoder(artifact.bits));
    },
  });
}

/** Two halves a group: its scale and its zero point. */
function integerCoder(bits: Bits): GroupCoder {
  const last = 2 ** bits - 1;
  return {
    bytes: 4,
    write(x, { start, stride, count, offset }, codes, bytes) {
      let low = x[start]!;
      let high = low;
      for (let index = 1; index < count; index++) {
        const value = x[start + index * stride]!;
        if (value < low) low = value;
        if (value > high) high = value;
      }
      const scale = storeHalf(bytes, offset, (high - low) / last);
      const zero = storeHalf(bytes, offset + 2, low);
      const inverse = inverseOf(scale);
      for (let index = 0; index < count; index++) {
        const place = start + index * stride;
        codes[place] = Math.min(last, Math.max(0, Math.floor((x[place]! - zero) * inverse + 0.5)));
      }
    },
    read(codes, { start, stride, count, offset }, out, bytes) {
      const scale = loadHalf(bytes, offset);
      const zero = loadHalf(bytes, offset + 2);
      for (let index = 0; index < count; index++) {
        const place = start + index * stride;
        out[place] = codes[place]! * scale + zero;
      }
    },
  };
}
