/** The file form of artifacts and statistics: a JSON header and arrays behind it, under one checksum. */

import { floatFromHalf, halfFromFloat } from "@kvquant/packing";
import { KvquantError } from "@kvquant/spec";
import { corrupt } from "../corrupt.js";
import { crc32 } from "./crc32.js";

/** Arrays that a container holds, as they are read back. */
export type ContainerArray = Float32Array | Float64Array | Uint32Array | Uint16Array;

/** What a container is: four letters and the version of its content. */
export interface ContainerKind {
  /** Four ASCII letters. */
  readonly magic: string;
  readonly version: number;
  /** For messages, such as `.kvq artifact`. */
  readonly name: string;
}

/** Content of a container. */
export interface ContainerContent {
  /** Anything that JSON can hold. */
  readonly header: unknown;
  readonly arrays: readonly ContainerArray[];
}

type ArrayType = "f16" | "f32" | "f64" | "u16" | "u32";

const BYTES: Readonly<Record<ArrayType, number>> = { f16: 2, f32: 4, f64: 8, u16: 2, u32: 4 };
const PREFIX = 20;

/**
 * Writes a container; all numbers little-endian.
 * ```
 * 0   magic, 4 ASCII letters
 * 4   u32 version
 * 8   u32 CRC-32 of everything else: bytes 0-7 and 12 to the end
 * 12  u64 length of the header
 * 20  header: JSON, UTF-8, { content, arrays: [[type, length], ..] }
 * ..  arrays one after another, each start padded with zeros to a multiple of 8
 * ```
 * Types are f16, f32, f64, u16, u32; a Float32Array is stored as f16 when no element changes by it.
 */
export function encodeContainer(kind: ContainerKind, content: ContainerContent): Uint8Array {
  const types = content.arrays.map(arrayType);
  const json = JSON.stringify({ content: content.header, arrays: content.arrays.map((array, index) => [types[index]!, array.length]) });
  const header = new TextEncoder().encode(json);
  let size = align(PREFIX + header.length);
  content.arrays.forEach((array, index) => (size = align(size + array.length * BYTES[types[index]!])));
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < 4; index++) bytes[index] = kind.magic.charCodeAt(index);
  view.setUint32(4, kind.version, true);
  view.setBigUint64(12, BigInt(header.length), true);
  bytes.set(header, PREFIX);
  let offset = align(PREFIX + header.length);
  content.arrays.forEach((array, index) => {
    writeArray(view, offset, types[index]!, array);
    offset = align(offset + array.length * BYTES[types[index]!]);
  });
  view.setUint32(8, checksum(bytes), true);
  return bytes;
}

/**
 * Reads a container.
 * @throws CORRUPT_DATA for another kind of file, a cut or changed one, or a header that promises more than there is
 * @throws UNSUPPORTED for a newer version
 */
export function decodeContainer(kind: ContainerKind, bytes: Uint8Array): ContainerContent {
  if (bytes.length < PREFIX) throw corrupt(kind.name, `at least ${PREFIX} bytes`, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = String.fromCharCode(...bytes.subarray(0, 4));
  if (magic !== kind.magic) throw corrupt(kind.name, `a file that starts with ${kind.magic}`, JSON.stringify(magic));
  const stored = view.getUint32(8, true);
  const computed = checksum(bytes);
  if (stored !== computed) throw corrupt(kind.name, `checksum ${stored.toString(16)}`, `${computed.toString(16)}; the file is damaged or cut off, make it again`);
  const version = view.getUint32(4, true);
  if (version > kind.version) throw new KvquantError("UNSUPPORTED", `${kind.name}: expected version ${kind.version} or older, got ${version}; update kvquant`);
  if (version < 1) throw corrupt(kind.name, "a version of at least 1", version);
  const headerLength = Number(view.getBigUint64(12, true));
  if (!(headerLength <= bytes.length - PREFIX)) throw corrupt(kind.name, `a header of at most ${bytes.length - PREFIX} bytes`, headerLength);
  const { content, arrays } = parseHeader(kind, bytes.subarray(PREFIX, PREFIX + headerLength));
  let offset = align(PREFIX + headerLength);
  const read: ContainerArray[] = [];
  for (const [type, length] of arrays) {
    const end = offset + length * BYTES[type];
    if (end > bytes.length) throw corrupt(kind.name, `${end} bytes for its arrays`, bytes.length);
    read.push(readArray(view, offset, type, length));
    offset = align(end);
  }
  if (offset !== bytes.length) throw corrupt(kind.name, `${offset} bytes`, bytes.length);
  return { header: content, arrays: read };
}

function parseHeader(kind: ContainerKind, bytes: Uint8Array): { content: unknown; arrays: [ArrayType, number][] } {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw corrupt(kind.name, "a JSON header", "other bytes", error);
  }
  const { content, arrays } = (header ?? {}) as { content?: unknown; arrays?: unknown };
  if (!Array.isArray(arrays)) throw corrupt(kind.name, "a header with a list of arrays", typeof arrays);
  for (const entry of arrays as unknown[]) {
    const [type, length] = Array.isArray(entry) ? (entry as unknown[]) : [];
    const known = typeof type === "string" && Object.hasOwn(BYTES, type);
    if (!known || !Number.isSafeInteger(length) || (length as number) < 0) throw corrupt(kind.name, "arrays of a known type and length", JSON.stringify(entry));
  }
  return { content, arrays: arrays as [ArrayType, number][] };
}

function arrayType(array: ContainerArray): ArrayType {
  if (array instanceof Float64Array) return "f64";
  if (array instanceof Uint32Array) return "u32";
  if (array instanceof Uint16Array) return "u16";
  return isHalves(array) ? "f16" : "f32";
}

/** Whether every element, signs of zero included, survives as a half. */
export function isHalves(array: Float32Array): boolean {
  for (let index = 0; index < array.length; index++) {
    if (!Object.is(floatFromHalf(halfFromFloat(array[index]!)), array[index]!)) return false;
  }
  return true;
}

function writeArray(view: DataView, offset: number, type: ArrayType, array: ContainerArray): void {
  for (let index = 0; index < array.length; index++) {
    const value = array[index]!;
    const at = offset + index * BYTES[type];
    if (type === "f16") view.setUint16(at, halfFromFloat(value), true);
    else if (type === "f32") view.setFloat32(at, value, true);
    else if (type === "f64") view.setFloat64(at, value, true);
    else if (type === "u16") view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
  }
}

function readArray(view: DataView, offset: number, type: ArrayType, length: number): ContainerArray {
  const array = type === "f64" ? new Float64Array(length) : type === "u32" ? new Uint32Array(length) : type === "u16" ? new Uint16Array(length) : new Float32Array(length);
  for (let index = 0; index < length; index++) {
    const at = offset + index * BYTES[type];
    if (type === "f16") array[index] = floatFromHalf(view.getUint16(at, true));
    else if (type === "f32") array[index] = view.getFloat32(at, true);
    else if (type === "f64") array[index] = view.getFloat64(at, true);
    else if (type === "u16") array[index] = view.getUint16(at, true);
    else array[index] = view.getUint32(at, true);
  }
  return array;
}

/** CRC of bytes 12 on, and of the first 8 with it as 4 more bytes: all but the checksum itself. */
function checksum(bytes: Uint8Array): number {
  const head = new Uint8Array(12);
  head.set(bytes.subarray(0, 8));
  new DataView(head.buffer).setUint32(8, crc32(bytes, 12), true);
  return crc32(head);
}

function align(offset: number): number {
  return Math.ceil(offset / 8) * 8;
}
