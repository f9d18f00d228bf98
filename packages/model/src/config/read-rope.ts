/** Reads a rotary embedding by the helpers of @kvquant/rope, with errors that name the file. */

import { KvquantError } from "@kvquant/spec";

/**
 * What `read` gives; its complaints about values become CORRUPT_DATA of the file.
 * @throws CORRUPT_DATA, UNSUPPORTED
 */
export function readRope<T>(where: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!KvquantError.isInstance(cause)) throw cause;
    throw new KvquantError(cause.code === "INVALID_ARGUMENT" ? "CORRUPT_DATA" : cause.code, `${where}: ${cause.message}`, { cause });
  }
}
