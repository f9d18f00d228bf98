/** Pages of linear codes with some fp16 numbers for each group of values. */

import { linear } from "@kvquant/packing";
import type { Bits } from "@kvquant/spec";
import type { Geometry } from "../geometry.js";
import type { PageMethod } from "../page-quantizer.js";
import { valueGroups } from "./value-groups.js";
import type { Grouping } from "./value-groups.js";

/** One group of a page: `count` values from index `start`, `stride` apart, whose numbers lie at byte `offset`. */
export interface GroupPlace {
  readonly start: number;
  readonly stride: number;
  readonly count: number;
  readonly offset: number;
}

/** How a group becomes codes and numbers. */
export interface GroupCoder {
  /** Bytes of a group's numbers. */
  readonly bytes: number;
  /** Writes a group's numbers to `bytes` and its codes to `codes`, both at the places of its values `x`. */
  write(x: Float32Array, place: GroupPlace, codes: Uint8Array, bytes: Uint8Array): void;
  /**
   * Writes the group's values to `out`.
   * @throws CORRUPT_DATA
   */
  read(codes: Uint8Array, place: GroupPlace, out: Float32Array, bytes: Uint8Array): void;
}

/** A block: the codes (linear, token after token), then the numbers of each group. */
export function groupedCodes(bits: Bits, grouping: Grouping, geometry: Geometry, coder: GroupCoder): PageMethod {
  const packing = linear(bits);
  const groups = valueGroups(grouping, geometry);
  const columns = geometry.kvHeads * geometry.headDim;
  const codeBytes = (tokens: number): number => packing.byteLength(tokens * columns);

  return {
    byteLength: (tokens) => codeBytes(tokens) + coder.bytes * groups.count(tokens),
    write(x, tokens, bytes) {
      const numbers = codeBytes(tokens);
      const codes = new Uint8Array(tokens * columns);
      groups.each(tokens, (group, start, stride, count) => coder.write(x, { start, stride, count, offset: numbers + coder.bytes * group }, codes, bytes));
      packing.pack(codes, bytes.subarray(0, numbers));
    },
    read(bytes, tokens, out) {
      const numbers = codeBytes(tokens);
      const codes = packing.unpack(bytes.subarray(0, numbers), tokens * columns);
      groups.each(tokens, (group, start, stride, count) => coder.read(codes, { start, stride, count, offset: numbers + coder.bytes * group }, out, bytes));
    },
  };
}
