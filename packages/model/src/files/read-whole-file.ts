/** Reads a file into memory. */

import { open } from "node:fs/promises";
import { KvquantError } from "@kvquant/spec";
import { ioError } from "./io-error.js";

/**
 * All bytes of a file of at most `maximumBytes` (default 2 GiB).
 * @throws IO_ERROR when it cannot be read or is no file
 * @throws OUT_OF_CAPACITY when it is larger
 */
export async function readWholeFile(path: string, options: { maximumBytes?: number } = {}): Promise<Uint8Array> {
  const maximum = options.maximumBytes ?? 2 ** 31 - 1;
  try {
    await using file = await openHandle(path);
    const status = await file.handle.stat();
    if (status.isDirectory()) throw new KvquantError("IO_ERROR", `cannot read ${path}: expected a file, got a folder`);
    if (status.size > maximum) throw new KvquantError("OUT_OF_CAPACITY", `${path}: expected at most ${maximum} bytes, got ${status.size}`);
    const bytes = await file.handle.readFile();
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (cause) {
    throw ioError("read", path, cause);
  }
}

async function openHandle(path: string) {
  const handle = await open(path, "r");
  return { handle, [Symbol.asyncDispose]: () => handle.close() };
}
