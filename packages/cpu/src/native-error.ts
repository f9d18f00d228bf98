/** Errors of the addon as errors of the packages. */

import { KvquantError } from "@kvquant/spec";
import type { KvquantErrorCode } from "@kvquant/spec";

const CODES: ReadonlySet<string> = new Set<KvquantErrorCode>(["INVALID_ARGUMENT", "UNSUPPORTED", "OUT_OF_CAPACITY", "CORRUPT_DATA", "CANCELLED", "DISPOSED"]);

/** Turns what the addon threw into a KvquantError with the same code; anything else passes through. `where` goes before the message. */
export function fromNative(error: unknown, where?: string): unknown {
  if (!(error instanceof Error) || KvquantError.isInstance(error)) return error;
  const { code } = error as Error & { code?: string };
  if (code === undefined || !CODES.has(code)) return error;
  return new KvquantError(code as KvquantErrorCode, where === undefined ? error.message : `${where}: ${error.message}`, { cause: error });
}

/** Runs a call into the addon. */
export function callNative<Result>(call: () => Result, where?: string): Result {
  try {
    return call();
  } catch (error) {
    throw fromNative(error, where);
  }
}

/** Awaits asynchronous work of the addon. */
export async function awaitNative<Result>(work: () => Promise<Result>, where?: string): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw fromNative(error, where);
  }
}
