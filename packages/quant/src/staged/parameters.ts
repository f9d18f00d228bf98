/** Reading a stage's parameters and side bytes. */

import { floatFromHalf } from "@kvquant/packing";
import { corrupt } from "../corrupt.js";
import { finiteHalfBits, readHalfBits, writeHalfBits } from "../numeric/half-array.js";
import type { Parameters } from "./stage.js";

/**
 * The parameter `name` of a stage.
 * @throws CORRUPT_DATA when it is missing, of another length or not finite
 */
export function parameter(parameters: Parameters, name: string, length: number): Float32Array {
  const array = parameters[name];
  if (array?.length !== length) throw corrupt(`stage parameter ${name}`, `${length} numbers`, array?.length ?? "none");
  if (!array.every(Number.isFinite)) throw corrupt(`stage parameter ${name}`, "finite numbers", array.find((value) => !Number.isFinite(value)));
  return array;
}

/** Numbers as little-endian halves, and back what they decode to in `values`. */
export function packHalves(values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(values.length * 2);
  for (let index = 0; index < values.length; index++) {
    const bits = finiteHalfBits(values[index]!);
    writeHalfBits(bytes, 2 * index, bits);
    values[index] = floatFromHalf(bits);
  }
  return bytes;
}

/**
 * Reads `count` halves at byte `offset`.
 * @throws CORRUPT_DATA when bytes are missing or a number is not finite
 */
export function unpackHalves(bytes: Uint8Array, offset: number, count: number): Float32Array {
  if (offset + 2 * count > bytes.length) throw corrupt("stage side data", `${offset + 2 * count} bytes`, bytes.length);
  const values = new Float32Array(count);
  for (let index = 0; index < count; index++) {
    const value = floatFromHalf(readHalfBits(bytes, offset + 2 * index));
    if (!Number.isFinite(value)) throw corrupt("stage side data", "finite halves", value);
    values[index] = value;
  }
  return values;
}
