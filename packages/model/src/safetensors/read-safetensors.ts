/** Reads the header of a safetensors file: 8 bytes of little-endian length, JSON, data. */

import { KvquantError } from "@kvquant/spec";
import type { ByteSource } from "../files/byte-source.js";
import type { StoredTensor } from "../files/stored-tensor.js";
import type { BlockType } from "../gguf/block-type.js";
import { bf16, f16, f32 } from "../gguf/blocks/floats.js";

/** Bound of the reference implementation. */
const LARGEST_HEADER = 100_000_000;
const TYPES: Readonly<Record<string, BlockType>> = { F32: f32, F16: f16, BF16: bf16 };

/**
 * Tensors by name, rows being the outer dimension; each lies inside the file and they cover the data without holes or overlaps, as the format demands.
 * @throws CORRUPT_DATA, UNSUPPORTED (a type other than F32, F16, BF16)
 */
export function readSafetensors(source: ByteSource): Map<string, StoredTensor> {
  const length = headerLength(source);
  const header = parseHeader(source.path, source.read(8, new Uint8Array(length)));
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== "__metadata__") tensors.set(name, checkEntry(source, { name, entry, dataStart: 8 + length }));
  }
  checkCover(source, [...tensors.values()], 8 + length);
  return tensors;
}

function headerLength(source: ByteSource): number {
  if (source.size < 8) throw corrupt(source.path, "at least 8 bytes", source.size);
  const view = new DataView(source.read(0, new Uint8Array(8)).buffer);
  const length = view.getBigUint64(0, true);
  if (length < 2n || length > BigInt(LARGEST_HEADER)) throw corrupt(source.path, `a header of 2 to ${LARGEST_HEADER} bytes`, length);
  if (Number(length) + 8 > source.size) throw corrupt(source.path, `a header of ${length} bytes`, `a file of ${source.size}; it is truncated, fetch it again`);
  return Number(length);
}

function parseHeader(path: string, bytes: Uint8Array): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new KvquantError("CORRUPT_DATA", `${path}: expected a JSON header, got text that is not (${(cause as Error).message})`, { cause });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw corrupt(path, "a JSON object as header", Array.isArray(parsed) ? "a list" : parsed);
  return parsed as Record<string, unknown>;
}

function checkEntry(source: ByteSource, item: { name: string; entry: unknown; dataStart: number }): StoredTensor {
  const where = `${source.path}: tensor ${JSON.stringify(item.name)}`;
  const { dtype, shape, data_offsets: offsets } = (item.entry ?? {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
  if (typeof dtype !== "string" || !isSizes(shape) || !isSizes(offsets) || offsets.length !== 2) throw corrupt(where, "dtype, shape and data_offsets", JSON.stringify(item.entry)?.slice(0, 100));
  const type = Object.hasOwn(TYPES, dtype) ? TYPES[dtype] : undefined;
  if (!type) throw new KvquantError("UNSUPPORTED", `${where}: type ${dtype} cannot be read, expected one of ${Object.keys(TYPES).join(", ")}; use an unquantized model or a GGUF file`);
  const count = shape.reduce((product, size) => product * size, 1);
  const [begin, end] = offsets as [number, number];
  if (shape.length < 1 || shape.length > 4 || count < 1 || !Number.isSafeInteger(count)) throw corrupt(where, "1 to 4 dimensions of believable sizes", `[${shape.join(", ")}]`);
  if (end - begin !== count * type.bytes) throw corrupt(where, `${count * type.bytes} bytes for [${shape.join(", ")}] ${dtype}`, end - begin);
  if (item.dataStart + end > source.size) throw corrupt(where, `data up to byte ${item.dataStart + end}`, `a file of ${source.size} bytes; it is truncated, fetch it again`);
  const cols = shape.at(-1)!;
  return { name: item.name, rows: count / cols, cols, type, source, offset: item.dataStart + begin };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function checkCover(source: ByteSource, tensors: StoredTensor[], dataStart: number): void {
  tensors.sort((a, b) => a.offset - b.offset);
  let end = dataStart;
  for (const tensor of tensors) {
    if (tensor.offset !== end) throw corrupt(`${source.path}: tensor ${JSON.stringify(tensor.name)}`, `data from byte ${end} on`, `${tensor.offset}; tensors overlap or leave holes`);
    end += tensor.rows * tensor.cols * tensor.type.bytes;
  }
  if (end !== source.size) throw corrupt(source.path, `a file of ${end} bytes`, source.size);
}

function corrupt(where: string, expected: string, got: unknown): KvquantError {
  return new KvquantError("CORRUPT_DATA", `${where}: expected ${expected}, got ${String(got)}`);
}
