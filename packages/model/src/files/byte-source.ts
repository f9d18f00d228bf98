/** Reads ranges of a file, synchronously and without holding more than is asked for. */

import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { Stats } from "node:fs";
import { KvquantError } from "@kvquant/spec";
import { ioError } from "./io-error.js";

/** An open file; every read is checked against its size. */
export interface ByteSource {
  readonly path: string;
  /** Bytes in the file when it was opened. */
  readonly size: number;
  /**
   * Fills `target` from `offset` on and returns it.
   * @throws CORRUPT_DATA when the range is not in the file (any more), or the file was changed since it was opened
   * @throws DISPOSED after `close`
   * @throws IO_ERROR
   */
  read(offset: number, target: Uint8Array): Uint8Array;
  close(): void;
}

const LARGEST_READ = 1 << 30;

/**
 * Opens a file for reading.
 * @throws IO_ERROR when it is not there, not readable or not a file
 */
export function openByteSource(path: string): ByteSource {
  let handle: number | undefined = openFile(path);
  const { size, mtimeMs } = statusOf(handle, path);
  return {
    path,
    size,
    read(offset, target) {
      if (handle === undefined) throw new KvquantError("DISPOSED", `${path}: expected an open file, got one that was closed`);
      if (!Number.isSafeInteger(offset) || offset < 0 || offset + target.length > size) throw truncated(path, offset + target.length, size);
      const now = fstatSync(handle);
      if (now.size >= size && now.mtimeMs !== mtimeMs) throw new KvquantError("CORRUPT_DATA", `${path}: expected the file that was opened, got one changed since; load it again`);
      let done = 0;
      while (done < target.length) {
        const got = readRange(handle, { path, target, done, offset });
        if (got === 0) throw truncated(path, offset + target.length, offset + done);
        done += got;
      }
      return target;
    },
    close() {
      if (handle !== undefined) closeSync(handle);
      handle = undefined;
    },
  };
}

function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    throw ioError("open", path, cause);
  }
}

function statusOf(handle: number, path: string): Stats {
  const status = fstatSync(handle);
  if (status.isFile()) return status;
  closeSync(handle);
  throw new KvquantError("IO_ERROR", `${path}: expected a file, got ${status.isDirectory() ? "a folder" : "something else"}`);
}

function readRange(handle: number, range: { path: string; target: Uint8Array; done: number; offset: number }): number {
  const length = Math.min(range.target.length - range.done, LARGEST_READ);
  try {
    return readSync(handle, range.target, range.done, length, range.offset + range.done);
  } catch (cause) {
    throw ioError("read", range.path, cause);
  }
}

function truncated(path: string, expected: number, got: number): KvquantError {
  return new KvquantError("CORRUPT_DATA", `${path}: expected at least ${expected} bytes, got ${got}; the file is truncated, fetch it again`);
}
