// Computed in Node and in chromium.
import { decodeHalf, encodeHalf, keyLanes, linear, valueLanes } from "@kvquant/packing";

export default function compute() {
  /** @type {Record<string, Uint8Array | Float32Array>} */
  const values = {};
  for (const bits of /** @type {const} */ ([1, 2, 3, 4, 5, 8])) values[`linear ${bits}`] = linear(bits).pack(Uint8Array.from({ length: 99 }, (_, index) => (index * 37) % 2 ** bits));
  for (const bits of /** @type {const} */ ([2, 3, 4, 5])) {
    const codes = Uint8Array.from({ length: 64 * 32 }, (_, index) => (index * 37 + (index >> 5)) % 2 ** bits);
    for (const format of [keyLanes(bits, 32), valueLanes(bits, 32)]) {
      values[format.id] = format.pack(codes);
      values[`${format.id} back`] = format.unpack(format.pack(codes));
    }
  }
  values["halves"] = decodeHalf(encodeHalf(Float32Array.from({ length: 100 }, (_, index) => (index - 50) ** 3 / 7)));
  return values;
}
