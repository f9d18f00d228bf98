import { expect, test } from "vitest";
import { crc32 } from "./crc32.js";
import { decodeContainer, encodeContainer, isHalves } from "./container.js";

const kind = { magic: "TEST", version: 3, name: "test file" };
const header = { name: "ü" };
const arrays = [Float64Array.of(1 / 3, -0), Uint16Array.of(1, 65535, 258), new Float32Array(0), Uint32Array.of(2 ** 32 - 2), Float32Array.of(0.1, 1), Float32Array.of(1, -0, -65504), Uint16Array.of(1, 2, 3, 4)];

/** The same file put together by hand, as the format is documented. */
function byHand(): Buffer {
  const json = Buffer.from(JSON.stringify({ content: header, arrays: [["f64", 2], ["u16", 3], ["f16", 0], ["u32", 1], ["f32", 2], ["f16", 3], ["u16", 4]] }));
  const prefix = Buffer.alloc(20);
  prefix.write("TEST");
  prefix.writeUInt32LE(3, 4);
  prefix.writeBigUInt64LE(BigInt(json.length), 12);
  const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
  const doubles = Buffer.alloc(16);
  doubles.writeDoubleLE(1 / 3, 0);
  doubles.writeDoubleLE(-0, 8);
  const floats = Buffer.alloc(8);
  floats.writeFloatLE(0.1, 0);
  floats.writeFloatLE(1, 4);
  const rest = [padded(Buffer.concat([prefix, json])), doubles, padded(Buffer.of(1, 0, 255, 255, 2, 1)), padded(Buffer.of(254, 255, 255, 255)), floats, padded(Buffer.of(0x00, 0x3c, 0x00, 0x80, 0xff, 0xfb)), Buffer.of(1, 0, 2, 0, 3, 0, 4, 0)];
  return seal(Buffer.concat(rest));
}

function seal(bytes: Buffer): Buffer {
  const behind = Buffer.alloc(4);
  behind.writeUInt32LE(crc32(bytes, 12));
  bytes.writeUInt32LE(crc32(Buffer.concat([bytes.subarray(0, 8), behind])), 8);
  return bytes;
}

/** A container with this header, of no arrays' bytes. */
function withHeader(text: string | Uint8Array, more = 0): Buffer {
  const json = Buffer.from(text as string);
  const bytes = Buffer.alloc(Math.ceil((20 + json.length) / 8) * 8 + more);
  bytes.write("TEST");
  bytes.writeUInt32LE(3, 4);
  bytes.writeBigUInt64LE(BigInt(json.length), 12);
  json.copy(bytes, 20);
  return seal(bytes);
}

test("a container has the documented bytes, and they give back every array in its type", () => {
  expect(Buffer.from(encodeContainer(kind, { header, arrays }))).toEqual(byHand());
  expect(decodeContainer(kind, byHand())).toStrictEqual({ header, arrays });
});

test("bytes may lie anywhere in a larger buffer, and be of an older version", () => {
  const larger = Buffer.alloc(byHand().length + 24, 0xaa);
  byHand().copy(larger, 11);
  expect(decodeContainer({ ...kind, version: 4 }, larger.subarray(11, 11 + byHand().length))).toStrictEqual({ header, arrays });
});

test.each([
  ["that is no JSON", "{"],
  ["that is no UTF-8", Uint8Array.of(0x22, 0xff, 0x22)],
  ["with text that is no UTF-8", Buffer.from('{"content":"\xff","arrays":[]}', "latin1")],
  ["without arrays", '{"content":1}'],
  ["with arrays that are no list", '{"content":1,"arrays":{"length":0}}'],
  ["with an array of no type", '{"arrays":[[3,1]]}'],
  ["with an array of a list of types", '{"arrays":[[["f64"],0]]}'],
  ["with an array of a type that objects have by birth", '{"arrays":[["toString",0]]}'],
  ["with an array of a negative length", '{"arrays":[["f64",-1]]}'],
  ["with an array of half a number", '{"arrays":[["f64",0.5]]}'],
  ["with an array that is not there", '{"arrays":[["f64",1]]}'],
])("a header %s is CORRUPT_DATA", (_, text) => {
  expect(() => decodeContainer(kind, withHeader(text))).toThrow(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringMatching(/^test file: expected .*, got /) }));
});

test("arrays end with the file: one byte less or eight more are CORRUPT_DATA", () => {
  expect(decodeContainer(kind, withHeader('{"arrays":[["f64",1]]}', 8)).arrays).toStrictEqual([Float64Array.of(0)]);
  expect(decodeContainer(kind, withHeader('{"arrays":[]}')).arrays).toEqual([]);
  expect(decodeContainer(kind, withHeader('{"arrays":[       ]}')).arrays).toEqual([]); // the header ends with the file
  for (const more of [7, 16]) expect(() => decodeContainer(kind, withHeader('{"arrays":[["f64",1]]}', more))).toThrow(expect.objectContaining({ code: "CORRUPT_DATA" }));
});

test("a sound file of another kind is CORRUPT_DATA", () => {
  expect(() => decodeContainer({ ...kind, magic: "ELSE" }, byHand())).toThrow(expect.objectContaining({ code: "CORRUPT_DATA", message: expect.stringContaining("starts with ELSE") as string }));
});

test("numbers are halves where no bit is lost, signs of zero included", () => {
  for (const number of [0, -0, 1, -65504, 2 ** -24, Infinity]) expect(isHalves(Float32Array.of(1, number))).toBe(true);
  for (const number of [0.1, 65505, 1 + 2 ** -11, 2 ** -25, -(2 ** -25)]) expect(isHalves(Float32Array.of(1, number))).toBe(false);
});
