/** A matrix inside a file, decoded to fp32 by rows. */

import type { BlockType } from "../gguf/block-type.js";
import type { ByteSource } from "./byte-source.js";

/** Where a tensor lies and how it is coded; its data is known to lie inside the file. */
export interface StoredTensor {
  /** The file's own name of it. */
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly type: BlockType;
  readonly source: ByteSource;
  /** First byte in the file. */
  readonly offset: number;
  /** Row r of the tensor is row `order[r]` of the file, for a vector value r is value `order[r]`; undefined when they are the same. */
  readonly order?: Int32Array | undefined;
}

const CHUNK_BYTES = 1 << 20;
let scratch = new Uint8Array(CHUNK_BYTES);

/** Bytes of one row in the file. */
export function rowBytes(tensor: StoredTensor): number {
  return (tensor.cols / tensor.type.values) * tensor.type.bytes;
}

/** All values `[rows, cols]`. */
export function readTensor(tensor: StoredTensor): Float32Array {
  const { rows, cols, order } = tensor;
  const out = new Float32Array(rows * cols);
  const bytes = rowBytes(tensor);
  const blocks = cols / tensor.type.values;
  const step = Math.max(1, Math.floor(CHUNK_BYTES / bytes));
  const target = order && rows > 1 ? rowTargets(order) : undefined;
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const chunk = tensor.source.read(tensor.offset + first * bytes, scratchOf(count * bytes));
    if (!target) tensor.type.decode(chunk, 0, count * blocks, out, first * cols);
    else for (let row = 0; row < count; row++) tensor.type.decode(chunk, row * bytes, blocks, out, target[first + row]! * cols);
  }
  return order && rows === 1 ? Float32Array.from(order, (index) => out[index]!) : out;
}

/** Decodes one row `[cols]` into `out` from index `to` on. */
export function readRow(tensor: StoredTensor, row: number, out: Float32Array, to: number): void {
  const bytes = rowBytes(tensor);
  const chunk = tensor.source.read(tensor.offset + (tensor.order?.[row] ?? row) * bytes, scratchOf(bytes));
  tensor.type.decode(chunk, 0, tensor.cols / tensor.type.values, out, to);
}

/** The bytes of `count` rows of the file from `first` on, valid until the next read. */
export function readRows(tensor: StoredTensor, first: number, count: number): Uint8Array {
  const bytes = rowBytes(tensor);
  return tensor.source.read(tensor.offset + first * bytes, scratchOf(count * bytes));
}

/** Where each row of the file goes: the inverse of `order`. */
export function rowTargets(order: Int32Array): Int32Array {
  const inverse = new Int32Array(order.length);
  for (let row = 0; row < order.length; row++) inverse[order[row]!] = row;
  return inverse;
}

function scratchOf(length: number): Uint8Array {
  if (scratch.length < length) scratch = new Uint8Array(length);
  return scratch.subarray(0, length);
}
