import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { BLOCK_TYPES, blockTypeOf } from "./block-types.js";

// Written by golden/make_dequantize.py with the gguf wheel.
const golden = JSON.parse(readFileSync(new URL("../../golden/dequantize.json", import.meta.url), "utf8")) as { cases: Record<string, { bytes: string; values: string }> };

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "base64"));
}

test("there is a golden case for every tensor type", () => {
  expect(Object.keys(golden.cases).sort()).toEqual(BLOCK_TYPES.map((type) => type.name).sort());
});

test.each(BLOCK_TYPES.map((type) => [type.name, type] as const))("%s decodes random blocks to the very bits of the gguf wheel", (name, type) => {
  const { bytes, values } = golden.cases[name]!;
  const source = bytesOf(bytes);
  const expected = new Float32Array(bytesOf(values).buffer);
  const count = source.length / type.bytes;
  expect(count * type.values).toBe(expected.length);
  const out = new Float32Array(expected.length).fill(Number.NaN);
  type.decode(source, 0, count, out, 0);
  expect(new Uint32Array(out.buffer)).toEqual(new Uint32Array(expected.buffer));
});

test.each(BLOCK_TYPES.map((type) => [type.name, type] as const))("%s reads from an odd byte and writes its own range only", (name, type) => {
  const source = bytesOf(golden.cases[name]!.bytes);
  const expected = new Float32Array(bytesOf(golden.cases[name]!.values).buffer);
  const moved = new Uint8Array(source.length + 7).fill(0xee);
  moved.set(source, 3);
  const out = new Float32Array(type.values + 10).fill(-77);
  type.decode(moved, 3 + type.bytes, 1, out, 5);
  expect(out.subarray(5, 5 + type.values)).toEqual(expected.subarray(type.values, 2 * type.values));
  expect([...out.subarray(0, 5), ...out.subarray(5 + type.values)]).toEqual(Array.from({ length: 10 }, () => -77));
});

test("an unknown type is refused by its name with the list of those that can be read", () => {
  expect(() => blockTypeOf(10, "m.gguf: tensor \"x\"")).toThrow(expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(/m\.gguf.*Q2_K.*F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K/) as string }));
  expect(() => blockTypeOf(4711, "x")).toThrow(/number 4711/);
});
