/** Gives yauzl the bytes of a file, and an error for places outside of it: its own reader throws there, out of reach of any handler, and an archive says where to read. */

import { close, createReadStream, open, read } from "node:fs";
import { Readable } from "node:stream";
import { RandomAccessReader } from "yauzl";

/** Over an open file of `size` bytes; closes it with the archive. */
export class ZipReader extends RandomAccessReader {
  readonly #handle: number;
  readonly #size: number;

  constructor(handle: number, size: number) {
    super();
    this.#handle = handle;
    this.#size = size;
  }

  override read(target: Buffer, offset: number, length: number, position: number, done: (error: Error | null, count?: number) => void): void {
    if (!this.#holds(position, position + length)) return void setImmediate(done, outside(position, length));
    read(this.#handle, target, offset, length, position, done);
  }

  override _readStreamForRange(start: number, end: number): Readable {
    // A stream closes its file when it is destroyed, whatever it is told; this one belongs to the archive.
    if (this.#holds(start, end)) return createReadStream("", { fd: this.#handle, start, end: end - 1, fs: { open, read, close: (_handle, done) => done?.(null) } });
    return new Readable({ read: () => undefined }).destroy(outside(start, end - start));
  }

  override close(done: (error: Error | null) => void): void {
    close(this.#handle, done);
  }

  #holds(start: number, end: number): boolean {
    return Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end <= this.#size;
  }
}

function outside(position: number, length: number): Error {
  return new Error(`${length} bytes at ${position} are outside the file`);
}
