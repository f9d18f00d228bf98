/** Cancellation between parts of a benchmark. */

import { KvquantError } from "@kvquant/spec";

/** Throws CANCELLED when the signal has fired. */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new KvquantError("CANCELLED", "bench: interrupted");
}
