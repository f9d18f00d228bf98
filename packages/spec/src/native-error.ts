/** Errors of native addons as errors of the packages. */

import { KvquantError } from "./error.js";
import type { KvquantErrorCode } from "./error.js";

const CODES: ReadonlySet<string> = new Set<KvquantErrorCode>(["INVALID_ARGUMENT", "UNSUPPORTED", "OUT_OF_CAPACITY", "CORRUPT_DATA", "CANCELLED", "DISPOSED", "NATIVE_UNAVAILABLE"]);

/** Turns what an addon threw into a KvquantError with the same code; anything else passes through. `where` goes before the message. */
export function fromNative(error: unknown, where?: string): unknown {
  if (!(error instanceof Error) || KvquantError.isInstance(error)) return error;
  const { code } = error as Error & { code?: string };
  if (code === undefined || !CODES.has(code)) return error;
  return new KvquantError(code as KvquantErrorCode, where === undefined ? error.message : `${where}: ${error.message}`, { cause: error });
}

/** Runs a call into an addon. @throws what {@link fromNative} makes of its errors */
export function callNative<Result>(call: () => Result, where?: string): Result {
  try {
    return call();
  } catch (error) {
    throw fromNative(error, where);
  }
}

/** Awaits asynchronous work of an addon. @throws what {@link fromNative} makes of its errors */
export async function awaitNative<Result>(work: () => Promise<Result>, where?: string): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw fromNative(error, where);
  }
}
