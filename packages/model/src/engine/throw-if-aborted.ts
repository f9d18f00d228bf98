/** Cancellation between parts of long work. */

import { KvquantError } from "@kvquant/spec";

/** Throws CANCELLED when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new KvquantError("CANCELLED", "the run was cancelled");
}
