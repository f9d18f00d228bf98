import { expect, test } from "vitest";
import { crc32 } from "./crc32.js";

/** By definition: a bit a step. */
function definition(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

test("any run of bytes has the checksum that steps of one bit give, whatever its start and rest of four", () => {
  const bytes = Uint8Array.from({ length: 300 }, (_, index) => (index * 89 + (index >> 3)) & 255);
  for (let start = 0; start < 9; start++) {
    for (const end of [start, start + 1, start + 2, start + 3, start + 4, start + 5, start + 7, start + 8, 299, 300]) expect(crc32(bytes, start, end)).toBe(definition(bytes.subarray(start, end)));
    expect(crc32(bytes, start)).toBe(definition(bytes.subarray(start)));
  }
});
