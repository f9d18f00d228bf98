/** Reads the header of a GGUF file and checks it against the file's real size. */

import { gguf } from "@huggingface/gguf";
import { KvquantError } from "@kvquant/spec";
import type { ByteSource } from "../files/byte-source.js";
import { ioError } from "../files/io-error.js";
import type { StoredTensor } from "../files/stored-tensor.js";
import { blockTypeOf } from "./block-types.js";
import { createGgufMetadata } from "./gguf-metadata.js";
import type { GgufMetadata } from "./gguf-metadata.js";

/** A checked header: every tensor lies inside the file and overlaps no other. */
export interface GgufHeader {
  readonly metadata: GgufMetadata;
  /** By the file's own names; rows are the outer dimension. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

interface TensorInfo {
  readonly name: string;
  readonly shape: readonly bigint[];
  readonly dtype: number;
  readonly offset: bigint;
}

/**
 * Reads the metadata and tensor table of an open GGUF file (versions 1 to 3, little-endian).
 * @throws CORRUPT_DATA when it is not GGUF, truncated, or promises what the file does not hold
 * @throws UNSUPPORTED for big-endian or split files and unknown tensor types
 * @throws IO_ERROR when the system cannot read it
 */
export async function readGguf(source: ByteSource): Promise<GgufHeader> {
  checkMagic(source);
  const parsed = await parse(source.path);
  if (!parsed.littleEndian) throw new KvquantError("UNSUPPORTED", `${source.path}: expected a little-endian GGUF file, got a big-endian one; convert it with gguf_convert_endian`);
  const headerEnd = parsed.tensorInfoByteRange[1];
  if (headerEnd > source.size) throw corrupt(source.path, `a header of ${headerEnd} bytes`, `a file of ${source.size}`);
  const entries = new Map<string, unknown>(Object.entries(parsed.metadata));
  const metadata = createGgufMetadata(source.path, entries);
  const parts = metadata.integer("split.count") ?? 1;
  if (parts > 1) throw new KvquantError("UNSUPPORTED", `${source.path}: expected a whole model, got one of ${parts} parts; join them with llama-gguf-split --merge`);
  const alignment = metadata.integer("general.alignment") ?? 32;
  if (alignment < 1 || (alignment & (alignment - 1)) !== 0) throw corrupt(source.path, "an alignment that is a power of two", alignment);
  const tensors = new Map<string, StoredTensor>();
  for (const info of parsed.tensorInfos as readonly TensorInfo[]) {
    if (tensors.has(info.name)) throw corrupt(source.path, "tensor names once each", `${quote(info.name)} twice`);
    tensors.set(info.name, checkTensor(source, info, { dataStart: Number(parsed.tensorDataOffset), alignment }));
  }
  checkOverlaps(source.path, [...tensors.values()]);
  return { metadata, tensors };
}

function checkMagic(source: ByteSource): void {
  const start = source.read(0, new Uint8Array(Math.min(64, source.size)));
  const text = Buffer.from(start).toString("latin1");
  if (text.startsWith("version https://git-lfs")) throw corrupt(source.path, "a GGUF file", "a git-lfs pointer to one; fetch the file itself");
  if (!text.startsWith("GGUF")) throw corrupt(source.path, "a GGUF file", `one that starts with ${quote(text.slice(0, 8))}`);
  if (source.size < 24) throw corrupt(source.path, "a GGUF header", `${source.size} bytes`);
}

async function parse(path: string): Promise<Awaited<ReturnType<typeof gguf>>> {
  try {
    return await gguf(path, { allowLocalFile: true });
  } catch (cause) {
    // What the system could not read says nothing of the file's content.
    if (typeof (cause as NodeJS.ErrnoException).errno === "number") throw ioError("read", path, cause);
    throw new KvquantError("CORRUPT_DATA", `${path}: expected a readable GGUF header, got one that ends early or makes no sense (${(cause as Error).message}); fetch the file again`, { cause });
  }
}

function checkTensor(source: ByteSource, info: TensorInfo, layout: { dataStart: number; alignment: number }): StoredTensor {
  const where = `${source.path}: tensor ${quote(info.name)}`;
  const shape = info.shape.map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  if (shape.length < 1 || shape.length > 4 || shape.some((size) => size < 1) || !Number.isSafeInteger(count)) throw corrupt(where, "1 to 4 dimensions of believable sizes", `[${info.shape.join(", ")}]`);
  const type = blockTypeOf(info.dtype, where);
  const cols = shape[0]!;
  if (cols % type.values !== 0) throw corrupt(where, `rows of a multiple of ${type.values} values (${type.name})`, cols);
  const offset = Number(info.offset);
  if (!Number.isSafeInteger(offset) || offset % layout.alignment !== 0) throw corrupt(where, `an offset that is a multiple of ${layout.alignment}`, info.offset);
  const end = layout.dataStart + offset + (count / type.values) * type.bytes;
  if (!(end <= source.size)) throw corrupt(where, `data up to byte ${end}`, `a file of ${source.size} bytes; it is truncated, fetch it again`);
  return { name: info.name, rows: count / cols, cols, type, source, offset: layout.dataStart + offset };
}

function checkOverlaps(path: string, tensors: StoredTensor[]): void {
  tensors.sort((a, b) => a.offset - b.offset);
  for (let index = 1; index < tensors.length; index++) {
    const previous = tensors[index - 1]!;
    const end = previous.offset + ((previous.rows * previous.cols) / previous.type.values) * previous.type.bytes;
    if (end > tensors[index]!.offset) throw corrupt(path, "tensors that do not overlap", `${quote(previous.name)} and ${quote(tensors[index]!.name)} sharing bytes`);
  }
}

function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}

function corrupt(where: string, expected: string, got: unknown): KvquantError {
  return new KvquantError("CORRUPT_DATA", `${where}: expected ${expected}, got ${String(got)}`);
}
